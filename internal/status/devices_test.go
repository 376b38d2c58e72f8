package status_test

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/status"
)

// TestHealthOfDevices holds behaviour 240.
func TestHealthOfDevices(t *testing.T) {
	const gpu, nic = "vendor.test/gpu", "vendor.test/nic"
	in := situation(containers("a", "b"), running("a#0"), running("b#0"))
	in.Memory.Kept.Assigned = &allocate.Assigned{Containers: map[string]allocate.Part{"a": {Devices: map[string][]string{nic: {"n"}, gpu: {"x", "y"}}}}}
	in.Facts.Bond = &allocate.Bond{Devices: map[string]map[string]allocate.Health{gpu: {"x": allocate.Healthy, "y": allocate.Unhealthy}, nic: {"n": allocate.UnknownHealth}}}
	told := func() string {
		out := ""
		for _, c := range status.Of(in).ContainerStatuses {
			for _, r := range c.AllocatedResourcesStatus {
				for _, d := range r.Resources {
					out += fmt.Sprintf("%s %s %s %s; ", c.Name, r.Name, d.ResourceID, d.Health)
				}
			}
		}
		return out
	}
	if got, want := told(), "a vendor.test/gpu x Healthy; a vendor.test/gpu y Unhealthy; a vendor.test/nic n Unknown; "; got != want {
		t.Errorf("240: told %s, want %s", got, want)
	}
	in.Facts.Claimed = map[string][]v1.ResourceStatus{"b": {{Name: "claim:c/r", Resources: []v1.ResourceHealth{{ResourceID: "d/p/0", Health: v1.ResourceHealthStatusUnhealthy}}}}}
	if got, want := told(), "a vendor.test/gpu x Healthy; a vendor.test/gpu y Unhealthy; a vendor.test/nic n Unknown; b claim:c/r d/p/0 Unhealthy; "; got != want {
		t.Errorf("240, of claims: told %s, want %s", got, want)
	}
	in.Node.NoDeviceHealth = true
	if got := told(); got != "" {
		t.Errorf("though the gate ResourceHealthStatus is off: %s", got)
	}
}
