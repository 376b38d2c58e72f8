package cgroup

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	"github.com/opencontainers/cgroups/systemd"
)

// slicesOverDBus makes cgroups as systemd slices over D-Bus.
type slicesOverDBus struct{ v2, hugetlb bool }

func newSlices(l layout) (units, error) {
	if !systemd.IsRunningSystemd() {
		return nil, errors.New("cgroupDriver systemd: systemd does not run this machine; use cgroupfs, for the runtime as well")
	}
	return slicesOverDBus{v2: l.v2, hugetlb: !slices.Contains(l.missing(), "hugetlb")}, nil
}

func (s slicesOverDBus) set(n Name, r Resources) error {
	m, err := manager.New(s.slice(n, r))
	if err != nil {
		return fmt.Errorf("slice %s: %w", n.Slice(), err)
	}
	if err := m.Apply(-1); err != nil {
		return fmt.Errorf("start slice %s: %w", n.Slice(), err)
	}
	if err := m.Set(s.slice(n, r).Resources); err != nil {
		return fmt.Errorf("limit slice %s: %w", n.Slice(), err)
	}
	return nil
}

func (s slicesOverDBus) stop(n Name) error {
	m, err := manager.New(s.slice(n, Resources{}))
	if err != nil {
		return fmt.Errorf("slice %s: %w", n.Slice(), err)
	}
	if err := m.Destroy(); err != nil {
		return fmt.Errorf("stop slice %s: %w", n.Slice(), err)
	}
	return nil
}

// slice words a cgroup for the library. It wants the last slice of the path and the one above it by name.
func (s slicesOverDBus) slice(n Name, r Resources) *cgroups.Cgroup {
	res := &cgroups.Resources{
		CpuQuota: r.CPUQuota, CpuPeriod: period(r), Memory: r.Memory,
		SkipDevices: true, SkipFreezeOnSet: true,
	}
	if r.CPUQuota == 0 {
		res.CpuPeriod = 0
	}
	if r.Pids != 0 {
		pids := r.Pids
		res.PidsLimit = &pids
	}
	if s.v2 {
		res.Unified = r.Unified
		if r.CPUShares != 0 {
			res.CpuWeight = Weight(r.CPUShares)
		}
	} else {
		res.CpuShares = r.CPUShares
	}
	for _, size := range slices.Sorted(maps.Keys(r.Hugetlb)) {
		if v := r.Hugetlb[size]; s.hugetlb && v >= 0 && slices.Contains(cgroups.HugePageSizes(), size) {
			res.HugetlbLimit = append(res.HugetlbLimit, &cgroups.HugepageLimit{Pagesize: size, Limit: uint64(v)})
		}
	}
	return &cgroups.Cgroup{Name: n.Slice(), Parent: n[:len(n)-1].Slice(), Systemd: true, Resources: res}
}
