package nodestatus

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/config"
)

func machine() Machine { return Machine{CPUs: 4, Memory: 8 << 30, Disk: 100 << 30, PIDs: 1000} }

func written(list v1.ResourceList) map[string]string {
	out := map[string]string{}
	for name, q := range list {
		out[string(name)] = q.String()
	}
	return out
}

func TestRoom(t *testing.T) {
	no := false
	whole := map[string]string{"cpu": "4", "memory": "8Gi", "ephemeral-storage": "100Gi", "pods": "110"}
	but := func(changes ...string) map[string]string {
		out := map[string]string{}
		for name, q := range whole {
			out[name] = q
		}
		for i := 0; i < len(changes); i += 2 {
			if out[changes[i]] = changes[i+1]; changes[i+1] == "" {
				delete(out, changes[i])
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		machine func(*Machine)
		config  func(*config.Config)
		want    map[string]string
	}{
		"nothing reserved": {want: whole},
		"both reservations": {
			config: func(c *config.Config) {
				c.Kubelet.SystemReserved = map[string]string{"cpu": "100m", "memory": "1Gi", "pid": "100"}
				c.Kubelet.KubeReserved = map[string]string{"cpu": "400m", "ephemeral-storage": "10Gi"}
			},
			want: but("cpu", "3500m", "memory", "7Gi", "ephemeral-storage", "90Gi"),
		},
		"more reserved than there is": {
			config: func(c *config.Config) { c.Kubelet.KubeReserved = map[string]string{"memory": "9Gi"} },
			want:   but("memory", "0"),
		},
		"named processors stand for both numbers": {
			config: func(c *config.Config) {
				c.Kubelet.ReservedSystemCPUs = "0-1,1"
				c.Kubelet.SystemReserved = map[string]string{"cpu": "100m"}
				c.Kubelet.KubeReserved = map[string]string{"cpu": "100m", "memory": "1Gi"}
			},
			want: but("cpu", "2", "memory", "7Gi"),
		},
		"hard eviction": {
			config: func(c *config.Config) {
				c.Kubelet.EvictionHard = map[string]string{"memory.available": "1Gi", "nodefs.available": "10%", "imagefs.available": "15%", "nodefs.inodesFree": "5%"}
			},
			want: but("memory", "7Gi", "ephemeral-storage", "96636764000"),
		},
		"hard eviction outside allocatable": {
			config: func(c *config.Config) {
				c.EvictionOutsideAllocatable = true
				c.Kubelet.EvictionHard = map[string]string{"memory.available": "50%"}
			},
			want: whole,
		},
		"huge pages": {
			machine: func(m *Machine) { m.HugePages = map[int64]int64{2 << 20: 1 << 30, 1 << 30: 0} },
			want:    but("memory", "7Gi", "hugepages-2Mi", "1Gi", "hugepages-1Gi", "0"),
		},
		"few cores": {
			config: func(c *config.Config) { c.Kubelet.PodsPerCore = 10 },
			want:   but("pods", "40"),
		},
		"many cores": {
			config: func(c *config.Config) { c.Kubelet.PodsPerCore = 100 },
			want:   whole,
		},
		"disk not accounted for": {
			config: func(c *config.Config) {
				c.Kubelet.LocalStorageCapacityIsolation = &no
				c.Kubelet.EvictionHard = map[string]string{"nodefs.available": "10%"}
			},
			want: but("ephemeral-storage", ""),
		},
		"size of the disk not known": {
			machine: func(m *Machine) { m.Disk = 0 },
			want:    but("ephemeral-storage", ""),
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, cfg := machine(), &config.Config{}
			cfg.Kubelet.MaxPods = 110
			if c.machine != nil {
				c.machine(&m)
			}
			if c.config != nil {
				c.config(cfg)
			}
			r := RoomOf(m, cfg)
			if diff := cmp.Diff(c.want, written(r.Allocatable)); diff != "" {
				t.Error(diff)
			}
			if got, want := int(r.Allocatable.Pods().Value()), r.MaxPods; got != want {
				t.Errorf("%d pods are allocatable, and at most %d are taken", got, want)
			}
		})
	}
}

// TestCapacity: what is kept back does not make the machine smaller, and process numbers are counted for the cgroup of
// all pods only.
func TestCapacity(t *testing.T) {
	c := &config.Config{}
	c.Kubelet.MaxPods = 110
	c.Kubelet.SystemReserved = map[string]string{"cpu": "1", "pid": "10"}
	c.Kubelet.EnforceNodeAllocatable = []string{"pods"}
	r := RoomOf(machine(), c)
	want := map[string]string{"cpu": "4", "memory": "8Gi", "ephemeral-storage": "100Gi", "pods": "110", "pid": "1k"}
	if diff := cmp.Diff(want, written(r.Capacity)); diff != "" {
		t.Error(diff)
	}
	if _, ok := r.Allocatable[PIDs]; ok || !r.Enforced {
		t.Errorf("pids allocatable: %t, enforced: %t; want false, true", ok, r.Enforced)
	}
	c.Kubelet.EnforceNodeAllocatable = []string{"none"}
	if RoomOf(machine(), c).Enforced {
		t.Error("enforced though the configuration says none")
	}
}

func TestReserves(t *testing.T) {
	c := &config.Config{}
	c.Kubelet.SystemReserved = map[string]string{"cpu": "1", "memory": "1Gi"}
	c.Kubelet.KubeReserved = map[string]string{"cpu": "2"}
	c.Kubelet.SystemReservedCgroup, c.Kubelet.KubeReservedCgroup = "/system", "/runtime"
	c.Kubelet.EnforceNodeAllocatable = []string{"pods", "system-reserved", "kube-reserved-compressible"}
	var got []string
	for _, r := range RoomOf(machine(), c).Reserves {
		got = append(got, fmt.Sprint(r.Cgroup, " ", written(r.Amount), " ", r.WeightOnly))
	}
	want := []string{"/system map[cpu:1 memory:1Gi] false", "/runtime map[cpu:2] true"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
