package perform

import (
	"context"
	"time"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

func (x *Performer) runSandbox(ctx context.Context, d *pod.Desired, e plan.Effect) (*pod.Report, error) {
	in, err := x.podInputs(ctx, d.Pod, "")
	if err != nil {
		return nil, err
	}
	node := x.cfg.Node()
	config, remarks, err := translate.Sandbox(d, e.Attempt, &node, in)
	if err != nil {
		return nil, err
	}
	x.remarks(d, remarks)
	id, err := x.cfg.Runtime.RunPodSandbox(ctx, config, in.Handler)
	if err != nil {
		return nil, err
	}
	sandbox, err := x.cfg.Runtime.Sandbox(ctx, id)
	if err != nil {
		return nil, err
	}
	return own(time.Now(), []pod.Sandbox{sandbox}, nil), nil
}

// endSandbox stops or removes a sandbox and looks at what is left.
func (x *Performer) endSandbox(ctx context.Context, d *pod.Desired, e plan.Effect, end func(context.Context, string) error) (*pod.Report, error) {
	if err := end(ctx, e.ID); err != nil {
		return nil, err
	}
	return x.look(ctx, d)
}
