package perform

import (
	"context"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

func (x *Performer) createContainer(ctx context.Context, d *pod.Desired, e plan.Effect, seen plan.Seen) (*pod.Report, error) {
	spec, _ := pod.FindContainer(d.Pod, e.Container)
	if spec == nil {
		return nil, noContainer(d, e)
	}
	node := x.cfg.Node()
	in, err := x.inputs(ctx, d, spec, e.Attempt, &node, seen)
	if err != nil {
		return nil, translate.Refusal(err)
	}
	x.pin(in, e.Container, seen)
	config, err := translate.Container(d, e.Container, e.Attempt, seen.Memory.Session.Images[e.Container], &node, in)
	if err != nil {
		return nil, err
	}
	sandbox, _, err := translate.Sandbox(d, sandboxAttempt(seen, e.SandboxID), &node, in.PodInputs)
	if err != nil {
		return nil, err
	}
	if err := x.prepareDevices(ctx, d, e.Container, seen); err != nil {
		return nil, err
	}
	id, err := x.cfg.Runtime.CreateContainer(ctx, e.SandboxID, config, sandbox)
	if err != nil {
		return nil, err
	}
	x.placed(id, in)
	var mounted []string
	for _, m := range config.Mounts {
		if m.Image != nil {
			mounted = append(mounted, m.Image.Image)
		}
	}
	now := time.Now()
	return own(now, nil, []pod.Container{{
		ID: id, SandboxID: e.SandboxID, Name: e.Container, Attempt: e.Attempt, State: pod.Created, CreatedAt: now,
		Hash: names.HashContainer(spec), Annotations: maps.Clone(config.Annotations), ImageID: e.Image, Mounted: mounted,
		LogPath: filepath.Join(names.PodLogDir(node.PodLogsDir, d.Pod.Namespace, d.Pod.Name, d.Pod.UID), config.LogPath),
	}}), nil
}

func sandboxAttempt(seen plan.Seen, id string) uint32 {
	for _, s := range seen.Observed.Sandboxes {
		if s.ID == id {
			return s.Attempt
		}
	}
	return 0
}

// inputs gathers what the translation of a container needs: variables, volumes, sub-paths, and the files that are
// mounted into it.
func (x *Performer) inputs(ctx context.Context, d *pod.Desired, c *v1.Container, attempt uint32, node *translate.Node, seen plan.Seen) (*translate.Inputs, error) {
	podIn, err := x.podInputs(ctx, d.Pod, handlerNow(seen))
	if err != nil {
		return nil, err
	}
	ips := podIPs(seen, node)
	env, err := x.environment(ctx, d, c, node, ips)
	if err != nil {
		return nil, err
	}
	in := &translate.Inputs{PodInputs: podIn, Env: env, Volumes: x.volumesOf(d.UID())}
	addImageVolumes(in.Volumes, d, c, seen)
	storage(in)
	in.Plugin = pluginInputs(seen.Memory.Kept.Handed, c.Name)
	if err := x.claimed(in, d, c); err != nil {
		return nil, err
	}
	if in.SubPaths, err = x.subPaths(ctx, d, c, env); err != nil {
		return nil, err
	}
	var hosts []byte
	if d.Pod.Spec.HostNetwork {
		hosts = x.cfg.HostsFile()
	}
	if in.HostsPath, err = x.cfg.Files.Hosts(ctx, d.Pod, translate.Hosts(d.Pod, node.ClusterDomain, ips, hosts)); err != nil {
		return nil, err
	}
	if in.TerminationPath, err = x.cfg.Files.Termination(ctx, d.Pod, c.Name, attempt); err != nil {
		return nil, err
	}
	in.TargetID = target(d, c, seen)
	return in, nil
}

// storage adds what volumes bring along besides files: devices and groups.
func storage(in *translate.Inputs) {
	for _, name := range slices.Sorted(maps.Keys(in.Volumes)) {
		v := in.Volumes[name]
		if v.Device != "" {
			if in.BlockDevices == nil {
				in.BlockDevices = map[string]translate.BlockDevice{}
			}
			in.BlockDevices[name] = translate.BlockDevice{HostPath: v.Device, ReadOnly: v.ReadOnly}
		}
		if v.Group != nil && !slices.Contains(in.Groups, *v.Group) {
			in.Groups = append(in.Groups, *v.Group)
		}
	}
}

// podIPs are the addresses of the pod: of its sandbox, or the node's in the node's network.
func podIPs(seen plan.Seen, node *translate.Node) []string {
	primary := ""
	if len(node.HostIPs) > 0 {
		primary = node.HostIPs[0]
	}
	for _, s := range seen.Observed.Sandboxes {
		if s.Ready && s.HostNetwork {
			return node.HostIPs
		}
		if s.Ready {
			return translate.OrderIPs(s.IPs, primary)
		}
	}
	return nil
}

func (x *Performer) environment(ctx context.Context, d *pod.Desired, c *v1.Container, node *translate.Node, ips []string) ([]environ.Var, error) {
	facts := environ.Facts{NodeName: node.Name, HostIPs: node.HostIPs, PodIPs: ips, Allocatable: x.cfg.Allocatable}
	if x.cfg.Objects != nil {
		if err := x.cfg.Objects.Fill(ctx, d, c, &facts); err != nil {
			return nil, err
		}
	}
	for _, f := range environ.NeedOf(c).Files {
		content, err := x.cfg.Volumes.Read(ctx, d.Pod, f.Volume, f.Path)
		if err != nil {
			continue // what is not there counts as missing; environ knows whether that matters
		}
		if facts.Files == nil {
			facts.Files = map[environ.File][]byte{}
		}
		facts.Files[f] = content
	}
	return environ.Vars(d.Pod, c, facts)
}

func (x *Performer) subPaths(ctx context.Context, d *pod.Desired, c *v1.Container, env []environ.Var) (map[int]string, error) {
	out := map[int]string{}
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		if isImage(d.Pod, m.Name) { // its parts are the runtime's to find
			continue
		}
		path, err := environ.SubPath(m, env)
		if err != nil {
			return nil, err
		}
		if path == "" {
			continue
		}
		if out[i], err = x.cfg.Volumes.Subpath(ctx, d.Pod, c.Name, i, path); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// target is the container whose process namespace an ephemeral container joins.
func target(d *pod.Desired, c *v1.Container, seen plan.Seen) string {
	for i := range d.Pod.Spec.EphemeralContainers {
		e := &d.Pod.Spec.EphemeralContainers[i]
		if e.Name == c.Name && e.TargetContainerName != "" {
			if t := seen.Observed.Latest(e.TargetContainerName); t != nil {
				return t.ID
			}
		}
	}
	return ""
}

func (x *Performer) startContainer(ctx context.Context, d *pod.Desired, e plan.Effect, seen plan.Seen) (*pod.Report, error) {
	began := time.Now()
	if err := x.cfg.Runtime.StartContainer(ctx, e.ID); err != nil {
		return nil, err
	}
	c := pod.Container{ID: e.ID, Name: e.Container, Attempt: e.Attempt, State: pod.Running, StartedAt: began}
	if known := seen.Observed.Container(e.ID); known != nil {
		c = *known
		c.State, c.StartedAt = pod.Running, began
		if err := x.cfg.Files.Link(ctx, d.Pod, e.Container, e.ID, c.LogPath); err != nil {
			x.remarks(d, []translate.Remark{{Reason: "FailedLogLink", Message: err.Error()}})
		}
	}
	return own(began, nil, []pod.Container{c}), nil
}

// stopContainer ends a container by its deadline. CRI counts whole seconds; the nearest is half a second off at most.
func (x *Performer) stopContainer(ctx context.Context, d *pod.Desired, e plan.Effect) (*pod.Report, error) {
	left := max(time.Until(e.Deadline), 0)
	if err := x.cfg.Runtime.StopContainer(ctx, e.ID, int64(math.Round(left.Seconds()))); err != nil {
		return nil, err
	}
	return x.look(ctx, d)
}

func (x *Performer) removeContainer(ctx context.Context, d *pod.Desired, e plan.Effect, seen plan.Seen) (*pod.Report, error) {
	if err := x.cfg.Runtime.RemoveContainer(ctx, e.ID); err != nil {
		return nil, err
	}
	if err := x.cfg.Files.Unlink(ctx, d.Pod, e.Container, e.ID); err != nil {
		return nil, err
	}
	gone := pod.Container{ID: e.ID, Name: e.Container, Attempt: e.Attempt}
	if known := seen.Observed.Container(e.ID); known != nil {
		gone = *known
	}
	gone.State = pod.Gone
	return own(time.Now(), nil, []pod.Container{gone}), nil
}

func (x *Performer) readEnd(ctx context.Context, d *pod.Desired, e plan.Effect, seen plan.Seen) (*pod.Report, error) {
	spec, _ := pod.FindContainer(d.Pod, e.Container)
	known := seen.Observed.Container(e.ID)
	if spec == nil || known == nil {
		return nil, nil
	}
	message, err := x.cfg.Files.End(ctx, d.Pod, spec, *known)
	if err != nil || message == "" {
		return nil, err
	}
	c := *known
	c.Message = message
	return own(time.Now(), nil, []pod.Container{c}), nil
}

func (x *Performer) hook(ctx context.Context, d *pod.Desired, e plan.Effect, seen plan.Seen) error {
	spec, _ := pod.FindContainer(d.Pod, e.Container)
	if spec == nil {
		return noContainer(d, e)
	}
	if !e.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, e.Deadline)
		defer cancel()
	}
	node := x.cfg.Node()
	ip := ""
	if ips := podIPs(seen, &node); len(ips) > 0 {
		ip = ips[0]
	}
	return x.cfg.Hooks.Run(ctx, e.Kind, d.Pod, spec, e.ID, ip)
}
