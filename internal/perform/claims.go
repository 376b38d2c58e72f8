package perform

import (
	"context"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

// claims has the pod's ResourceClaims prepared, or gives them back.
func (x *Performer) claims(ctx context.Context, d *pod.Desired, e plan.Effect) error {
	switch {
	case x.cfg.Claims == nil:
		return nil
	case e.Kind == plan.PrepareClaims:
		return x.cfg.Claims.Prepare(ctx, d.Pod)
	}
	return x.cfg.Claims.Unprepare(ctx, d.UID())
}

// claimed adds the devices that a container has of its pod's ResourceClaims, each once.
func (x *Performer) claimed(in *translate.Inputs, d *pod.Desired, c *v1.Container) error {
	if x.cfg.Claims == nil || !pod.UsesClaims(d.Pod) {
		return nil
	}
	devices, err := x.cfg.Claims.Devices(d.Pod, c)
	for _, name := range devices {
		if !slices.Contains(in.Plugin.CDI, name) {
			in.Plugin.CDI = append(in.Plugin.CDI, name)
		}
	}
	return err
}
