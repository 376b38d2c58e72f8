package perform

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/narrate"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

// makePod makes directories and cgroup. While a resize is under way containers may have more than they are to have, and the cgroup
// must not be too small for them. A pod that has a sandbox and no cgroup gets none until it is remembered that the sandbox is not in
// it: then uprooted is that sandbox (behaviour 364).
func (x *Performer) makePod(ctx context.Context, d *pod.Desired, seen plan.Seen) (attempts map[string]uint32, uprooted string, err error) {
	if attempts, err = x.cfg.Files.Make(ctx, d.Pod); err != nil {
		return nil, "", err
	}
	for _, s := range seen.Observed.Sandboxes {
		if !s.Ready || s.Gone || s.ID == seen.Memory.Kept.Uprooted {
			continue
		}
		if lost, err := x.cfg.Cgroups.Lost(ctx, d.Pod); err != nil || lost {
			return nil, s.ID, err
		}
		break
	}
	if seen.Memory.Kept.Resizing != nil {
		return attempts, "", x.cfg.Cgroups.Grow(ctx, d.Pod, owns(seen))
	}
	return attempts, "", x.cfg.Cgroups.Ensure(ctx, d.Pod, owns(seen))
}

func (x *Performer) setupVolume(ctx context.Context, d *pod.Desired, e plan.Effect) error {
	v, err := x.cfg.Volumes.Setup(ctx, d.Pod, e.Volume)
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			return cause // the event and the log name pod and volume anyway
		}
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.volumes[d.UID()] == nil {
		x.volumes[d.UID()] = map[string]translate.Volume{}
	}
	x.volumes[d.UID()][e.Volume] = v
	return nil
}

func (x *Performer) volumesOf(uid types.UID) map[string]translate.Volume {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := make(map[string]translate.Volume, len(x.volumes[uid]))
	for name, v := range x.volumes[uid] {
		out[name] = v
	}
	return out
}

func (x *Performer) tearVolumes(ctx context.Context, d *pod.Desired) error {
	if err := x.cfg.Volumes.TearDown(ctx, d.UID()); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.volumes, d.UID())
	return nil
}

func (x *Performer) ensureImage(ctx context.Context, d *pod.Desired, e plan.Effect) plan.Outcome {
	if e.Volume != "" {
		return x.ensureVolumeImage(ctx, d, e)
	}
	c, _ := pod.FindContainer(d.Pod, e.Container)
	if c == nil {
		return plan.Outcome{Failed: failure(noContainer(d, e))}
	}
	pulling := func() { x.tell(narrate.Pulling(d, c.Name, c.Image, time.Now())) }
	image, pulled, failed := x.cfg.Images.Ensure(ctx, d.Pod, c, "", nil, pulling)
	if failed != nil {
		return plan.Outcome{Failed: failed}
	}
	return plan.Outcome{Image: image, Pulled: &pulled}
}

func (x *Performer) tell(notes []note.Note) {
	for _, n := range notes {
		x.cfg.Notes(n)
	}
}

// remarks tells of what went well but not quite as the pod's author may think.
func (x *Performer) remarks(d *pod.Desired, remarks []translate.Remark) {
	for _, r := range remarks {
		x.cfg.Notes(note.Note{
			At: time.Now(), Level: note.Warning, Reason: r.Reason, Message: r.Message,
			About: note.About{Kind: "Pod", Namespace: d.Pod.Namespace, Name: d.Pod.Name, UID: d.Pod.UID},
		})
	}
}

func noContainer(d *pod.Desired, e plan.Effect) error {
	return fmt.Errorf("pod %s/%s has no container %s", d.Pod.Namespace, d.Pod.Name, e.Container)
}

// podInputs gathers what the translation of a pod needs. has is the handler of its sandbox; empty if there is none yet.
func (x *Performer) podInputs(ctx context.Context, p *v1.Pod, has string) (translate.PodInputs, error) {
	ids, err := x.cfg.Namespaces.Range(ctx, p)
	if err != nil {
		return translate.PodInputs{}, err
	}
	if has == "" {
		if has, err = x.handler(ctx, p); err != nil {
			return translate.PodInputs{}, err
		}
	}
	return translate.PodInputs{Handler: has, CgroupParent: x.cfg.Cgroups.Parent(p), UserNamespace: ids}, nil
}

// handlerNow is the handler of the sandbox that the pod's containers are in: whatever has become of its runtime class since. Empty if the
// runtime does not tell.
func handlerNow(seen plan.Seen) string {
	for _, s := range seen.Observed.Sandboxes {
		if s.Ready {
			return s.Handler
		}
	}
	return ""
}

// handler is the way a pod's containers are to be run; empty is the runtime's default. A node without an API server has no
// RuntimeClass objects: the class names the runtime's handler itself. The runtime says so if it has none of that name
// (behaviour 46).
func (x *Performer) handler(ctx context.Context, p *v1.Pod) (string, error) {
	switch class := p.Spec.RuntimeClassName; {
	case class == nil || *class == "":
		return "", nil
	case x.cfg.Objects == nil:
		return *class, nil
	default:
		return x.cfg.Objects.RuntimeHandler(ctx, *class)
	}
}
