package perform

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

const gpu = "vendor.test/gpu"

// plugins answers for device plugins.
type plugins struct {
	w      *world
	handed *allocate.Handed
	err    error
}

func (p plugins) Take(context.Context, *v1.Pod, *allocate.Assigned) (*allocate.Handed, error) {
	return p.handed, p.err
}

func (p plugins) Prepare(_ context.Context, _ *v1.Pod, container, resource string, ids []string) error {
	return p.w.did("Prepare", container, resource, strings.Join(ids, ","))
}

// TestTakeDevices holds which failures are the end of a pod that has never run (behaviour 40).
func TestTakeDevices(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		ran  bool
		want string
	}{
		"handed out":                      {nil, false, "handed"},
		"40 refused":                      {errors.New("rpc error: hm"), false, "UnexpectedAdmissionError Allocate failed due to rpc error: hm, which is unexpected"},
		"the plugin is away":              {fault.As(fault.ErrUnavailable, errors.New("away")), false, "soon  away"},
		"refused, though it ran":          {errors.New("hm"), true, " hm"},
		"the device is gone for good":     {fault.As(fault.ErrNotFound, errors.New("gone")), true, "UnexpectedAdmissionError Allocate failed due to gone, which is unexpected"},
		"refused when it took too long":   {fault.As(fault.ErrTimeout, errors.New("slow")), false, "UnexpectedAdmissionError Allocate failed due to slow, which is unexpected"},
		"away, and it ran: it may return": {fault.As(fault.ErrUnavailable, errors.New("away")), true, "soon  away"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			x := w.performer()
			x.cfg.Devices = plugins{w: w, handed: &allocate.Handed{Boot: "b"}, err: c.err}
			seen := around()
			if c.ran {
				seen.Observed.Containers[0].State = pod.Exited
			}
			o := x.Do(t.Context(), web(nil), plan.Effect{Kind: plan.TakeDevices}, seen)
			got := "handed"
			if o.Failed != nil {
				got = strings.TrimPrefix(fmt.Sprint(o.Failed.Class, " ", o.Failed.Reason, " ", o.Failed.Message), " ")
			}
			if got != c.want || (o.Handed == nil) != (c.err != nil) {
				t.Errorf("got %q, want %q; handed %+v", got, c.want, o.Handed)
			}
		})
	}
}

// TestContainersWithDevices holds what a container gets with its devices, and that plugins are told before it is made (behaviours 84, 86, 239).
func TestContainersWithDevices(t *testing.T) {
	w := newWorld()
	x := w.performer()
	x.cfg.Devices = plugins{w: w}
	seen := around()
	seen.Memory.Kept.Assigned = &allocate.Assigned{Containers: map[string]allocate.Part{"app": {Devices: map[string][]string{gpu: {"a", "b"}}}}}
	seen.Memory.Kept.Handed = &allocate.Handed{Containers: map[string]allocate.Artifacts{"app": {
		Env: map[string]string{"GPUS": "a,b"}, Mounts: []allocate.DeviceMount{{Host: "/lib/gpu", Container: "/gpu", ReadOnly: true}},
		Files: []allocate.DeviceFile{{Host: "/dev/null", Container: "/dev/gpu", Permissions: "rw"}}, CDI: []string{"vendor.test/gpu=a"},
		Annotations: map[string]string{"k": "v"}, PreStart: []string{gpu},
	}}}
	w.do(t, x, web(nil), one(plan.CreateContainer), seen, "Range", "Hosts", "Termination app#4", "Prepare app "+gpu+" a,b", "CreateContainer s1 app#4 sha256:app sandbox#2")
	c := w.configs[len(w.configs)-1]
	text := c.String()
	for _, want := range []string{"GPUS", "/lib/gpu", "/dev/gpu", `vendor.test/gpu=a`, `key:"k"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the container has no %s: %s", want, text)
		}
	}
	w.fail["Prepare"] = errors.New("hm")
	o := x.Do(t.Context(), web(nil), one(plan.CreateContainer), seen)
	if o.Failed == nil || !strings.Contains(o.Failed.Message, "hm") {
		t.Errorf("239: a plugin that does not prepare its devices: %+v", o.Failed)
	}
}
