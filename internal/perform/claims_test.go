package perform

import (
	"errors"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/plan"
)

// TestClaimedDevices: behaviour 241, the CDI names of a container's claims go to the runtime, each once; a container is not made
// without them.
func TestClaimedDevices(t *testing.T) {
	w := newWorld()
	w.claimed = []string{"example.com/gpu=0", "example.com/nic=1", "example.com/gpu=0"}
	d := web(nil)
	d.Pod.Spec.ResourceClaims = []v1.PodResourceClaim{{Name: "gpu", ResourceClaimName: new("gpu")}}
	w.performer().Do(t.Context(), d, one(plan.CreateContainer), around())
	var got []string
	for _, c := range w.configs[0].CDIDevices {
		got = append(got, c.Name)
	}
	if want := []string{"example.com/gpu=0", "example.com/nic=1"}; !slices.Equal(got, want) {
		t.Errorf("devices %q, want %q", got, want)
	}
	w.fail["Devices"] = errors.New("not prepared")
	if o := w.performer().Do(t.Context(), d, one(plan.CreateContainer), around()); o.Failed == nil || len(w.configs) != 1 {
		t.Errorf("a container was made without its devices: %+v", o.Failed)
	}
	bare := New(Config{})
	for _, kind := range []plan.Kind{plan.PrepareClaims, plan.UnprepareClaims} {
		if o := bare.Do(t.Context(), d, one(kind), around()); o.Failed != nil {
			t.Errorf("%s on a node without an API server: %+v", kind, o.Failed)
		}
	}
}
