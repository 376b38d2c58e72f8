package perform

import (
	"context"
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

// classes are RuntimeClass objects: handlers by name.
type classes map[string]string

func (classes) Fill(context.Context, *pod.Desired, *v1.Container, *environ.Facts) error { return nil }

func (c classes) RuntimeHandler(_ context.Context, name string) (string, error) {
	if handler, ok := c[name]; ok {
		return handler, nil
	}
	return "", fmt.Errorf("runtimeclass.node.k8s.io %q not found", name)
}

// TestRuntimeClass holds behaviour 46: in a cluster a class stands for the handler that its object names; without that object
// the sandbox fails, to be tried again.
func TestRuntimeClass(t *testing.T) {
	w := newWorld()
	w.node.Handlers = map[string]translate.Handler{"kata": {}}
	x := w.performer()
	x.cfg.Objects = classes{"sealed": "kata"}
	for class, want := range map[string]string{"sealed": "", "gone": `runtimeclass.node.k8s.io "gone" not found`} {
		w.calls = nil
		o := x.Do(t.Context(), web(func(p *v1.Pod) { p.Spec.RuntimeClassName = &class }), one(plan.RunSandbox), around())
		ran := strings.Contains(strings.Join(w.calls, "\n"), "handler=kata")
		switch {
		case want == "" && (o.Failed != nil || !ran):
			t.Errorf("%s: %+v, calls %q", class, o.Failed, w.calls)
		case want != "" && (o.Failed == nil || ran || o.Failed.Message != want):
			t.Errorf("%s: %+v, calls %q", class, o.Failed, w.calls)
		}
	}
	// The class of a pod that runs may go: its containers are made in the sandbox that is there.
	gone := "gone"
	seen := around()
	seen.Observed.Sandboxes[0].Handler = "kata"
	o := x.Do(t.Context(), web(func(p *v1.Pod) { p.Spec.RuntimeClassName = &gone }), one(plan.CreateContainer), seen)
	if o.Failed != nil {
		t.Errorf("a container of a pod whose class is gone: %+v", o.Failed)
	}
}
