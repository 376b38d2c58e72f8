package perform

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

// world is everything a Performer uses. It writes down what it is asked, in order, and can refuse any verb.
type world struct {
	calls []string
	notes []note.Note
	// fail is what a verb answers, by its name as in calls.
	fail map[string]error
	// lost tells that the pod has no cgroup.
	lost bool
	// lacks is why an image cannot be had, by its name.
	lacks map[string]*plan.Fault
	// takes is how long each call to the runtime takes; calls are made in a synctest bubble where that matters.
	takes time.Duration

	node      translate.Node
	configs   []*runtimeapi.ContainerConfig
	sandboxes []*runtimeapi.PodSandboxConfig
	ids       *translate.IDRange
	files     map[string]string // of volumes, by volume/path
	end       string            // the termination message
	deadline  time.Time         // of the last hook
	hosts     string
	image     plan.ResolvedImage
	pulled    plan.Pulled
	pulls     bool
	uses      uint64 // bytes of memory, by every container
	refused   *plan.Fault
	claimed   []string // CDI names of every container
}

func newWorld() *world {
	return &world{fail: map[string]error{}, files: map[string]string{}, node: translate.Node{
		Name: "n1", HostIPs: []string{"192.0.2.1"}, PodLogsDir: "/var/log/pods", Standalone: true, CgroupVersion: 2,
	}}
}

func (w *world) performer() *Performer {
	return New(Config{
		Runtime: w, Resizer: w, Images: images{w}, Volumes: w, Cgroups: cgroups{w}, Files: w, Hooks: w, Namespaces: w, Claims: w,
		Node: func() translate.Node { return w.node }, HostsFile: func() []byte { return []byte("192.0.2.9 of-the-node\n") },
		Notes: func(n note.Note) { w.notes = append(w.notes, n) },
	})
}

func (w *world) Prepare(context.Context, *v1.Pod) error { return w.did("Prepare") }

func (w *world) Unprepare(_ context.Context, uid types.UID) error { return w.did("Unprepare", uid) }

func (w *world) Devices(*v1.Pod, *v1.Container) ([]string, error) { return w.claimed, w.did("Devices") }

// did writes a call down and says how it ends.
func (w *world) did(verb string, args ...any) error {
	w.calls = append(w.calls, strings.TrimSpace(fmt.Sprintln(append([]any{verb}, args...)...)))
	return w.fail[verb]
}

// worked is did for a call to the runtime.
func (w *world) worked(verb string, args ...any) error {
	if w.takes > 0 {
		time.Sleep(w.takes)
	}
	return w.did(verb, args...)
}

func (w *world) RunPodSandbox(_ context.Context, config *runtimeapi.PodSandboxConfig, handler string) (string, error) {
	w.sandboxes = append(w.sandboxes, config)
	return "s9", w.worked("RunPodSandbox", config.Metadata.Attempt, config.Linux.GetCgroupParent(), "handler="+handler)
}

func (w *world) StopPodSandbox(_ context.Context, id string) error {
	return w.worked("StopPodSandbox", id)
}

func (w *world) RemovePodSandbox(_ context.Context, id string) error {
	return w.worked("RemovePodSandbox", id)
}

func (w *world) CreateContainer(_ context.Context, sandbox string, c *runtimeapi.ContainerConfig, s *runtimeapi.PodSandboxConfig) (string, error) {
	w.configs, w.sandboxes = append(w.configs, c), append(w.sandboxes, s)
	return "c9", w.worked("CreateContainer", sandbox, fmt.Sprintf("%s#%d", c.Metadata.Name, c.Metadata.Attempt), c.Image.Image, fmt.Sprintf("sandbox#%d", s.Metadata.Attempt))
}

func (w *world) StartContainer(_ context.Context, id string) error {
	return w.worked("StartContainer", id)
}

func (w *world) StopContainer(_ context.Context, id string, timeout int64) error {
	return w.worked("StopContainer", id, timeout)
}

func (w *world) RemoveContainer(_ context.Context, id string) error {
	return w.worked("RemoveContainer", id)
}

func (w *world) Sandbox(_ context.Context, id string) (pod.Sandbox, error) {
	err := w.worked("Sandbox", id)
	return pod.Sandbox{ID: id, Attempt: 2, Ready: true, IPs: []string{"10.0.0.7"}}, err
}

func (w *world) Inspect(_ context.Context, uid types.UID) (pod.Report, error) {
	began := time.Now()
	err := w.worked("Inspect", uid)
	return pod.Report{Complete: true, Began: began, Sandboxes: []pod.Sandbox{{ID: "s1", Seen: began}}}, err
}

func (w *world) Setup(_ context.Context, p *v1.Pod, volume string) (translate.Volume, error) {
	return translate.Volume{HostPath: "/pods/" + string(p.UID) + "/" + volume}, w.did("Setup", volume)
}

func (w *world) Subpath(_ context.Context, _ *v1.Pod, container string, mount int, path string) (string, error) {
	return "/sub/" + path, w.did("Subpath", container, mount, path)
}

func (w *world) Read(_ context.Context, _ *v1.Pod, volume, path string) ([]byte, error) {
	if err := w.did("Read", volume, path); err != nil {
		return nil, err
	}
	content, ok := w.files[volume+"/"+path]
	if !ok {
		return nil, errors.New("no such file")
	}
	return []byte(content), nil
}

func (w *world) TearDown(_ context.Context, uid types.UID) error { return w.did("TearDown", uid) }

func (w *world) Make(context.Context, *v1.Pod) (map[string]uint32, error) {
	return map[string]uint32{"app": 4}, w.did("Make")
}

func (w *world) Hosts(_ context.Context, _ *v1.Pod, content []byte) (string, error) {
	w.hosts = string(content)
	return "/pods/hosts", w.did("Hosts")
}

func (w *world) Termination(_ context.Context, _ *v1.Pod, container string, attempt uint32) (string, error) {
	return "/pods/end", w.did("Termination", fmt.Sprintf("%s#%d", container, attempt))
}

func (w *world) End(_ context.Context, _ *v1.Pod, c *v1.Container, ended pod.Container) (string, error) {
	return w.end, w.did("End", c.Name, ended.ID)
}

func (w *world) Link(_ context.Context, _ *v1.Pod, container, id, logPath string) error {
	return w.did("Link", container, id, logPath)
}

func (w *world) Unlink(_ context.Context, _ *v1.Pod, container, id string) error {
	return w.did("Unlink", container, id)
}

func (w *world) Forget(context.Context, *v1.Pod) error { return w.did("Forget") }

func (w *world) Run(ctx context.Context, kind plan.Kind, _ *v1.Pod, c *v1.Container, id, ip string) error {
	w.deadline, _ = ctx.Deadline()
	return w.did("Run", kind, c.Name, id, "ip="+ip)
}

func (w *world) Range(context.Context, *v1.Pod) (*translate.IDRange, error) {
	return w.ids, w.did("Range")
}

func (w *world) UpdateContainerResources(_ context.Context, id string, r *runtimeapi.LinuxContainerResources) error {
	return w.worked("UpdateContainerResources", id, r.CpuShares, r.MemoryLimitInBytes)
}

func (w *world) UpdatePodSandboxResources(_ context.Context, id string, _, r *runtimeapi.LinuxContainerResources) error {
	return w.worked("UpdatePodSandboxResources", id, r.CpuShares)
}

func (w *world) ContainerStats(_ context.Context, id string) (*runtimeapi.ContainerStats, error) {
	err := w.worked("ContainerStats", id)
	return &runtimeapi.ContainerStats{Memory: &runtimeapi.MemoryUsage{WorkingSetBytes: &runtimeapi.UInt64Value{Value: w.uses}}}, err
}

func (w *world) Release(uid types.UID) { _ = w.did("Release", uid) }

// images and cgroups have a verb of the same name.
type images struct{ *world }

func (i images) Ensure(_ context.Context, _ *v1.Pod, c *v1.Container, held string, _ *runtimeapi.PodSandboxConfig, pulling func()) (plan.ResolvedImage, plan.Pulled, *plan.Fault) {
	_ = i.did("EnsureImage", c.Name, c.Image, held)
	if i.pulls {
		pulling()
	}
	if f := i.lacks[c.Image]; f != nil {
		return plan.ResolvedImage{}, plan.Pulled{}, f
	}
	return i.image, i.pulled, i.refused
}

type cgroups struct{ *world }

func (c cgroups) Ensure(context.Context, *v1.Pod, bool) error { return c.did("EnsureCgroup") }

func (c cgroups) Lost(context.Context, *v1.Pod) (bool, error) {
	return c.lost, c.did("LostCgroup")
}

func (c cgroups) Grow(context.Context, *v1.Pod, bool) error { return c.did("GrowCgroup") }

func (c cgroups) Settle(context.Context, *v1.Pod, bool) error { return c.did("SettleCgroup") }

func (c cgroups) Parent(p *v1.Pod) string { return "/kubepods/pod" + string(p.UID) }

func (c cgroups) Remove(_ context.Context, uid types.UID) error { return c.did("RemoveCgroup", uid) }

// web is a pod with a container app and an ephemeral container debug that aims at it.
func web(change func(*v1.Pod)) *pod.Desired {
	p := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u1", Labels: map[string]string{"tier": "front"}},
		Spec: v1.PodSpec{
			DNSPolicy:  v1.DNSDefault,
			Containers: []v1.Container{{Name: "app", Image: "nginx:1"}},
			EphemeralContainers: []v1.EphemeralContainer{{
				EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "debug", Image: "busybox:1"}, TargetContainerName: "app",
			}},
		},
	}
	if change != nil {
		change(p)
	}
	return &pod.Desired{Pod: p, Source: pod.FromFile, Wanted: true}
}

// around is what is known of web: sandbox s1#2 is ready, s0#1 was before it, and app#3 is c1.
func around() plan.Seen {
	return plan.Seen{
		Observed: pod.Observed{
			Sandboxes: []pod.Sandbox{{ID: "s1", Attempt: 2, Ready: true, IPs: []string{"10.0.0.7"}}, {ID: "s0", Attempt: 1, IPs: []string{"10.0.0.6"}}},
			Containers: []pod.Container{{
				ID: "c1", SandboxID: "s1", Name: "app", Attempt: 3, State: pod.Created, LogPath: "/var/log/pods/x/app/3.log", Hash: "abc",
			}},
		},
		Memory: plan.Memory{Session: plan.Session{Images: map[string]plan.ResolvedImage{
			"app": {Attempt: 4, Name: "nginx:1", ID: "sha256:app"}, "debug": {Name: "busybox:1", ID: "sha256:debug"},
		}}},
	}
}

// do performs one effect and holds the calls it makes.
func (w *world) do(t *testing.T, x *Performer, d *pod.Desired, e plan.Effect, seen plan.Seen, calls ...string) plan.Outcome {
	t.Helper()
	w.calls, w.notes = nil, nil
	o := x.Do(t.Context(), d, e, seen)
	if !slices.Equal(w.calls, calls) {
		t.Errorf("%s: calls\n got %q\nwant %q", e.Key(), w.calls, calls)
	}
	return o
}

// tell writes a report as a test can read it; times are counted from start.
func tell(r *pod.Report, start time.Time) string {
	if r == nil {
		return "none"
	}
	s := "began " + r.Began.Sub(start).String()
	if r.Own {
		s = "own " + s
	}
	if r.Complete {
		s = "complete " + s
	}
	for _, b := range r.Sandboxes {
		s += fmt.Sprintf(", sandbox %s#%d ready=%v seen %v", b.ID, b.Attempt, b.Ready, b.Seen.Sub(start))
	}
	for _, c := range r.Containers {
		s += fmt.Sprintf(", %s#%d %s in %s %s seen %v", c.Name, c.Attempt, c.ID, c.SandboxID, c.State, c.Seen.Sub(start))
	}
	return s
}
