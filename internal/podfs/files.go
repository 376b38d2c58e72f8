package podfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/safepath"
)

// Volumes knows when a pod's directory may go. Package volume implements it.
type Volumes interface {
	// RemovePodDir removes a pod's directory, or says what is still mounted in it.
	RemovePodDir(ctx context.Context, uid types.UID) error
}

// Config says where things are. All paths are absolute; the directories are made when they are first needed.
type Config struct {
	// RootDir is the state directory; pods are in <RootDir>/pods.
	RootDir string
	// PodLogsDir is where the runtime writes logs; names.DefaultPodLogsDir if empty.
	PodLogsDir string
	// LinksDir is where log collectors look for logs; names.ContainerLogLinksDir if empty.
	LinksDir string
	Volumes  Volumes
}

// Files keeps the directories and files of pods. Its methods may be used by several goroutines, and repeated after a
// crash.
type Files struct {
	root, logs, links string
	volumes           Volumes
}

// New only keeps the configuration.
func New(cfg Config) *Files {
	return &Files{
		root: cfg.RootDir, logs: cmp.Or(cfg.PodLogsDir, names.DefaultPodLogsDir), links: cmp.Or(cfg.LinksDir, names.ContainerLogLinksDir),
		volumes: cfg.Volumes,
	}
}

const (
	podMode = fs.FileMode(0o750)
	logMode = fs.FileMode(0o755)
)

// Make makes the directories of a pod and of its containers' logs. It returns, for each container that has logs, the
// highest attempt among them, so that counting goes on where it was (behaviour 61).
func (f *Files) Make(_ context.Context, p *v1.Pod) (map[string]uint32, error) {
	pod, err := f.makePod(p.UID)
	if err != nil {
		return nil, about(p, "make directories", err)
	}
	defer pod.Close()
	for _, dir := range []string{"containers", "plugins", "volumes"} {
		if err := pod.MkdirAll(dir, podMode); err != nil {
			return nil, about(p, "make directories", err)
		}
	}
	attempts, err := f.makeLogs(p)
	if err != nil {
		return nil, about(p, "make log directory", err)
	}
	return attempts, nil
}

func (f *Files) makeLogs(p *v1.Pod) (map[string]uint32, error) {
	logs, err := f.makeLogDir(p)
	if err != nil {
		return nil, err
	}
	defer logs.Close()
	attempts := map[string]uint32{}
	for _, c := range containers(p) {
		if err := safepath.Component(c); err != nil {
			return nil, fmt.Errorf("container name: %w", err)
		}
		if err := logs.MkdirAll(c, logMode); err != nil {
			return nil, err
		}
		found, err := logs.ReadDir(c)
		if err != nil {
			return nil, err
		}
		if n, ok := highest(found); ok {
			attempts[c] = n
		}
	}
	return attempts, nil
}

// highest is the highest attempt among log files: 3.log, but also 3.log.20260102-150405 and that with .gz.
func highest(files []string) (attempt uint32, found bool) {
	for _, name := range files {
		number, rest, ok := strings.Cut(name, ".log")
		if !ok || rest != "" && rest[0] != '.' {
			continue
		}
		if n, err := strconv.ParseUint(number, 10, 32); err == nil {
			attempt, found = max(attempt, uint32(n)), true
		}
	}
	return attempt, found
}

func containers(p *v1.Pod) []string {
	var all []string
	for i := range p.Spec.InitContainers {
		all = append(all, p.Spec.InitContainers[i].Name)
	}
	for i := range p.Spec.Containers {
		all = append(all, p.Spec.Containers[i].Name)
	}
	for i := range p.Spec.EphemeralContainers {
		all = append(all, p.Spec.EphemeralContainers[i].Name)
	}
	return all
}

// Hosts puts this content into the pod's hosts file, mode 0644, and returns its path. A file that holds it already is
// not touched; otherwise it is replaced at once, and running containers keep the one they have (behaviour 74).
func (f *Files) Hosts(_ context.Context, p *v1.Pod, content []byte) (string, error) {
	pod, err := f.makePod(p.UID)
	if err != nil {
		return "", about(p, "write hosts file", err)
	}
	defer pod.Close()
	const name = "etc-hosts"
	if old, err := pod.ReadFile(name, int64(len(content))); err == nil && string(old) == string(content) {
		return pod.Join(name), nil
	}
	if err := pod.Replace(name, content, 0o644); err != nil {
		return "", about(p, "write hosts file", err)
	}
	return pod.Join(name), nil
}

// Forget removes a pod's directory, unless something is mounted in it, then its logs, and the links to them.
func (f *Files) Forget(ctx context.Context, p *v1.Pod) error {
	if err := f.volumes.RemovePodDir(ctx, p.UID); err != nil {
		return about(p, "remove files", err)
	}
	if err := f.RemoveLogs(ctx, p.Namespace, p.Name, p.UID); err != nil {
		return about(p, "remove files", err)
	}
	return nil
}

func about(p *v1.Pod, what string, err error) error {
	return fmt.Errorf("%s of pod %s/%s: %w", what, p.Namespace, p.Name, err)
}

// makePod opens the directory of a pod, and makes it if need be.
func (f *Files) makePod(uid types.UID) (*safepath.Root, error) {
	if err := safepath.Component(string(uid)); err != nil {
		return nil, fmt.Errorf("metadata.uid: %w", err)
	}
	root, err := safepath.Make(f.root, 0o755)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.MakeSub(filepath.Join("pods", string(uid)), podMode)
}

// makeLogDir opens the log directory of a pod, and makes it if need be.
func (f *Files) makeLogDir(p *v1.Pod) (*safepath.Root, error) {
	dir, err := logDirName(p.Namespace, p.Name, p.UID)
	if err != nil {
		return nil, err
	}
	logs, err := safepath.Make(f.logs, logMode)
	if err != nil {
		return nil, err
	}
	defer logs.Close()
	return logs.MakeSub(dir, logMode)
}

func logDirName(namespace, name string, uid types.UID) (string, error) {
	for field, part := range map[string]string{"metadata.namespace": namespace, "metadata.name": name, "metadata.uid": string(uid)} {
		if err := safepath.Component(part); err != nil {
			return "", fmt.Errorf("%s: %w", field, err)
		}
	}
	return filepath.Base(names.PodLogDir("/", namespace, name, uid)), nil
}

// openIfThere opens a directory; nil if it does not exist.
func openIfThere(dir string) (*safepath.Root, error) {
	r, err := safepath.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return r, err
}
