package perform

import (
	"context"
	"errors"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/translate"
)

// Devices speaks with device plugins. An error that is fault.ErrUnavailable means that a plugin is away, and one that is
// fault.ErrNotFound that a device is no longer there.
type Devices interface {
	// Take has the plugins hand out what belongs to the devices of a pod.
	Take(ctx context.Context, p *v1.Pod, a *allocate.Assigned) (*allocate.Handed, error)
	// Prepare tells the plugin of a resource that a container with its devices is about to be started.
	Prepare(ctx context.Context, p *v1.Pod, container, resource string, ids []string) error
}

// takeDevices asks the plugins. What one refuses is refused to the pod, unless a container of it has run: then it is asked again.
func (x *Performer) takeDevices(ctx context.Context, d *pod.Desired, seen plan.Seen) (*allocate.Handed, *plan.Fault) {
	handed, err := x.cfg.Devices.Take(ctx, d.Pod, seen.Memory.Kept.Assigned)
	if err == nil {
		return handed, nil
	}
	f := failure(err)
	ran := slices.ContainsFunc(seen.Observed.Containers, func(c pod.Container) bool { return c.State >= pod.Running })
	if errors.Is(err, fault.ErrNotFound) || !ran && ctx.Err() == nil && !errors.Is(err, fault.ErrUnavailable) {
		f.Reason, f.Message = reason.UnexpectedAdmissionError, allocate.DeviceFailure(f.Message)
	}
	return nil, f
}

// prepareDevices tells the plugins that want to hear of each start of a container.
func (x *Performer) prepareDevices(ctx context.Context, d *pod.Desired, container string, seen plan.Seen) error {
	kept := &seen.Memory.Kept
	if kept.Handed == nil {
		return nil
	}
	for _, resource := range kept.Handed.Containers[container].PreStart {
		if err := x.cfg.Devices.Prepare(ctx, d.Pod, container, resource, kept.Assigned.Part(container).Devices[resource]); err != nil {
			return err
		}
	}
	return nil
}

// pluginInputs are what device plugins add to a container, in a fixed order.
func pluginInputs(h *allocate.Handed, container string) translate.Plugin {
	var out translate.Plugin
	if h == nil {
		return out
	}
	a := h.Containers[container]
	for _, name := range slices.Sorted(maps.Keys(a.Env)) {
		out.Env = append(out.Env, environ.Var{Name: name, Value: a.Env[name]})
	}
	for _, m := range a.Mounts {
		out.Mounts = append(out.Mounts, &runtimeapi.Mount{HostPath: m.Host, ContainerPath: m.Container, Readonly: m.ReadOnly})
	}
	for _, f := range a.Files {
		out.Devices = append(out.Devices, &runtimeapi.Device{HostPath: f.Host, ContainerPath: f.Container, Permissions: f.Permissions})
	}
	out.CDI, out.Annotations = slices.Clone(a.CDI), a.Annotations
	return out
}
