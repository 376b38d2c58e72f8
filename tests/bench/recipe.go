package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A recipe is how the agent under test made one pod: the requests it sent, and the files and cgroups they name.
type recipe struct {
	pod, uid, root string // of the recorded pod: what another pod has others of
	run            *runtimeapi.RunPodSandboxRequest
	create         *runtimeapi.CreateContainerRequest
	stopTimeout    int64
	files          map[string][]byte // mounted into the container; nil content is a directory
	cgroups        []string
}

// learn makes a recipe of recorded calls. The pod must still run.
func learn(pod, root string, calls []call) (*recipe, error) {
	r := &recipe{pod: pod, root: root, files: map[string][]byte{}, run: &runtimeapi.RunPodSandboxRequest{}, create: &runtimeapi.CreateContainerRequest{}}
	for method, into := range map[string]proto.Message{"RunPodSandbox": r.run, "CreateContainer": r.create} {
		i := slices.IndexFunc(calls, func(c call) bool { return c.method == method && c.err == nil })
		if i < 0 {
			return nil, fmt.Errorf("the agent made no %s call that went well", method)
		}
		if err := proto.Unmarshal(calls[i].request, into); err != nil {
			return nil, fmt.Errorf("recorded %s: %w", method, err)
		}
	}
	r.uid = r.run.Config.Metadata.Uid
	for _, m := range r.create.Config.Mounts {
		info, err := os.Stat(m.HostPath)
		if err != nil {
			return nil, err
		}
		r.files[m.HostPath] = nil
		if !info.IsDir() {
			if r.files[m.HostPath], err = os.ReadFile(m.HostPath); err != nil {
				return nil, err
			}
		}
	}
	var err error
	if r.cgroups, err = cgroupDirs(r.run.Config.Linux.CgroupParent); err != nil {
		return nil, err
	}
	if len(r.cgroups) == 0 {
		return nil, fmt.Errorf("the pod's cgroup %s is in no hierarchy", r.run.Config.Linux.CgroupParent)
	}
	return r, nil
}

// stopsWith takes the grace period from the recorded end of the pod.
func (r *recipe) stopsWith(calls []call) error {
	for _, c := range calls {
		if c.method != "StopContainer" {
			continue
		}
		var stop runtimeapi.StopContainerRequest
		if err := proto.Unmarshal(c.request, &stop); err != nil {
			return fmt.Errorf("recorded StopContainer: %w", err)
		}
		r.stopTimeout = stop.Timeout
		return nil
	}
	return errors.New("the agent made no StopContainer call")
}

// cgroupDirs are the directories of one cgroup, in whatever hierarchies it is.
func cgroupDirs(cgroup string) ([]string, error) {
	var found []string
	for _, pattern := range []string{filepath.Join("/sys/fs/cgroup", cgroup), filepath.Join("/sys/fs/cgroup/*", cgroup)} {
		dirs, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		found = append(found, dirs...)
	}
	return found, nil
}

// A dish is a recipe made out for another pod.
type dish struct {
	run     *runtimeapi.RunPodSandboxRequest
	create  *runtimeapi.CreateContainerRequest
	logs    string
	files   map[string][]byte
	cgroups []string
	root    string // all its files are below
}

// serve makes the recipe out for a pod whose files are below root.
func (r *recipe) serve(pod, root string) (*dish, error) {
	uid := fmt.Sprintf("%0*s", len(r.uid), strings.ReplaceAll(pod, "bench-", ""))
	put := strings.NewReplacer(r.uid, uid, r.pod, pod, r.root+"/", root+"/").Replace
	d := &dish{run: &runtimeapi.RunPodSandboxRequest{}, create: &runtimeapi.CreateContainerRequest{}, files: map[string][]byte{}, root: filepath.Join(root, "pods", uid)}
	for from, to := range map[proto.Message]proto.Message{r.run: d.run, r.create: d.create} {
		text, err := protojson.Marshal(from)
		if err != nil {
			return nil, err
		}
		if err := protojson.Unmarshal([]byte(put(string(text))), to); err != nil {
			return nil, err
		}
	}
	d.logs = d.run.Config.LogDirectory
	for path, content := range r.files {
		d.files[put(path)] = content
		if content != nil {
			d.files[put(path)] = []byte(put(string(content)))
		}
	}
	for _, dir := range r.cgroups {
		d.cgroups = append(d.cgroups, put(dir))
	}
	return d, nil
}

// lay makes the files and cgroups.
func (d *dish) lay() error {
	if err := os.MkdirAll(filepath.Join(d.logs, d.create.Config.Metadata.Name), 0o755); err != nil {
		return err
	}
	for path, content := range d.files {
		if !strings.HasPrefix(path, d.root+"/") {
			continue // it belongs to the machine
		}
		dir := path
		if content != nil {
			dir = filepath.Dir(path)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if content != nil {
			if err := os.WriteFile(path, content, 0o644); err != nil {
				return err
			}
		}
	}
	for _, dir := range d.cgroups {
		if err := makeCgroup(dir); err != nil {
			return err
		}
	}
	return nil
}

// makeCgroup makes a cgroup. In v1 one that may hold processes needs CPUs and memory nodes.
func makeCgroup(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name))
		if err != nil || len(strings.TrimSpace(string(value))) == 0 {
			continue // another controller's, or v2, where an empty one takes its parent's
		}
		if err := os.WriteFile(filepath.Join(dir, name), value, 0); err != nil {
			return err
		}
	}
	return nil
}

// wash takes the files and cgroups away. A cgroup whose last process has just ended may be busy for a moment more: it is
// left to the end of the run.
func (d *dish) wash() error {
	for _, dir := range d.cgroups {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EBUSY) {
			return err
		}
	}
	return errors.Join(os.RemoveAll(d.logs), os.RemoveAll(d.root))
}
