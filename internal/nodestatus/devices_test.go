package nodestatus

import (
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// TestDevices holds behaviour 237.
func TestDevices(t *testing.T) {
	const gpu = "vendor.test/gpu"
	for name, c := range map[string]struct {
		before, boot string
		devices      Devices
		want         string
	}{
		"237 one is ill":                 {"", "", Devices{Capacity: 3, Healthy: 2}, "3 2"},
		"237 fewer than before":          {"5", "", Devices{Capacity: 3, Healthy: 3}, "3 3"},
		"237 the plugin is away":         {"3", "", Devices{Capacity: 3, Away: true}, "3 0"},
		"237 away for long":              {"3", "", Devices{Away: true, Untold: true, Gone: true}, "none"},
		"304 away since the agent began": {"3", "", Devices{Away: true, Untold: true}, "3 0"},
		"304 away since the reboot":      {"3", "another", Devices{Away: true, Untold: true}, "0 0"},
		"never told of":                  {"", "", Devices{Away: true, Untold: true}, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			f.Devices = map[string]Devices{gpu: c.devices}
			previous := Status(v1.NodeStatus{}, facts(), noon)
			if c.before != "" {
				previous.Capacity[gpu], previous.Allocatable[gpu] = resource.MustParse(c.before), resource.MustParse(c.before)
			}
			if c.boot != "" {
				previous.NodeInfo.BootID = c.boot
			}
			s := Status(previous, f, noon)
			got := "none"
			if all, ok := s.Capacity[gpu]; ok {
				may := s.Allocatable[gpu]
				got = all.String() + " " + may.String()
			}
			if got != c.want {
				t.Errorf("capacity and allocatable %s, want %s", got, c.want)
			}
			if s.Capacity.Cpu().Cmp(*previous.Capacity.Cpu()) != 0 {
				t.Error("other resources have changed")
			}
			if c.before != "" && c.want == "none" {
				patch, err := Patch("u", previous, s)
				if err != nil || !strings.Contains(string(patch), fmt.Sprintf("%q:null", gpu)) {
					t.Errorf("the resource is not taken out: %s, %v", patch, err)
				}
			}
		})
	}
}
