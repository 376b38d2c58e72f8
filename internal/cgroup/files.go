package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// setting is one value for one file of a cgroup.
type setting struct {
	controller string
	file       string
	value      string
}

// limit spells a limit; none is how the file spells that there is none.
func limit(v int64, none string) string {
	if v < 0 {
		return none
	}
	return strconv.FormatInt(v, 10)
}

// settingsV1 lists what to write on cgroup v1. A fresh cgroup needs nothing that equals the kernel's default.
func settingsV1(r Resources, fresh bool) []setting {
	var s []setting
	if r.CPUShares != 0 && !(fresh && r.CPUShares == defaultShares) {
		s = append(s, setting{"cpu", "cpu.shares", strconv.FormatUint(r.CPUShares, 10)})
	}
	if r.CPUQuota != 0 && !(fresh && r.CPUQuota < 0) {
		if p := period(r); r.CPUQuota > 0 && !(fresh && p == DefaultPeriod) {
			s = append(s, setting{"cpu", "cpu.cfs_period_us", strconv.FormatUint(p, 10)})
		}
		s = append(s, setting{"cpu", "cpu.cfs_quota_us", limit(r.CPUQuota, "-1")})
	}
	if r.Memory != 0 && !(fresh && r.Memory < 0) {
		s = append(s, setting{"memory", "memory.limit_in_bytes", limit(r.Memory, "-1")})
	}
	if r.Pids != 0 && !(fresh && r.Pids < 0) {
		s = append(s, setting{"pids", "pids.max", limit(r.Pids, "max")})
	}
	for _, size := range slices.Sorted(maps.Keys(r.Hugetlb)) {
		if v := r.Hugetlb[size]; !(fresh && v < 0) {
			s = append(s, setting{"hugetlb", "hugetlb." + size + ".limit_in_bytes", limit(v, "-1")})
		}
	}
	return s
}

// settingsV2 lists what to write on cgroup v2.
func settingsV2(r Resources, fresh bool) []setting {
	var s []setting
	if w := Weight(r.CPUShares); r.CPUShares != 0 && !(fresh && w == defaultWeight) {
		s = append(s, setting{"cpu", "cpu.weight", strconv.FormatUint(w, 10)})
	}
	if r.CPUQuota != 0 && !(fresh && r.CPUQuota < 0) {
		s = append(s, setting{"cpu", "cpu.max", limit(r.CPUQuota, "max") + " " + strconv.FormatUint(period(r), 10)})
	}
	if r.Memory != 0 && !(fresh && r.Memory < 0) {
		s = append(s, setting{"memory", "memory.max", limit(r.Memory, "max")})
	}
	if r.Pids != 0 && !(fresh && r.Pids < 0) {
		s = append(s, setting{"pids", "pids.max", limit(r.Pids, "max")})
	}
	for _, size := range slices.Sorted(maps.Keys(r.Hugetlb)) {
		if v := r.Hugetlb[size]; !(fresh && v < 0) {
			s = append(s, setting{"hugetlb", "hugetlb." + size + ".max", limit(v, "max")})
		}
	}
	for _, file := range slices.Sorted(maps.Keys(r.Unified)) {
		controller, _, _ := strings.Cut(file, ".")
		s = append(s, setting{controller, file, r.Unified[file]})
	}
	return s
}

func period(r Resources) uint64 {
	if r.CPUPeriod == 0 {
		return DefaultPeriod
	}
	return r.CPUPeriod
}

// apply writes those settings that belong to the hierarchy into a cgroup of it. Huge page sizes the kernel does not
// have are left out.
func apply(h *hierarchy, dir string, settings []setting) error {
	for i, s := range settings {
		if !h.has(s.controller) {
			continue
		}
		err := writeFile(dir, s.file, s.value)
		if s.controller == "hugetlb" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if s.file == "cpu.cfs_period_us" && errors.Is(err, unix.EINVAL) && i+1 < len(settings) {
			// The new period with the old quota would be more than the parent has: quota first, then.
			if err = writeFile(dir, settings[i+1].file, settings[i+1].value); err == nil {
				err = writeFile(dir, s.file, s.value)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func writeFile(dir, file, value string) error {
	path := filepath.Join(dir, file)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if err != nil {
		err = fmt.Errorf("write %q: %w", value, err)
	}
	return errors.Join(err, f.Close())
}

// readInt reads a file that holds one number; "max" is -1.
func readInt(dir, file string) (int64, error) {
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, err
	}
	text := strings.TrimSpace(string(data))
	if text == "max" {
		return -1, nil
	}
	return strconv.ParseInt(text, 10, 64)
}

// delegate lets the children of a cgroup v2 directory use its controllers. cpuset and io come along where the
// kernel has them: the runtime and the statistics want them.
func delegate(dir string) error {
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	on, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	enabled := strings.Fields(string(on))
	var add []string
	for _, c := range strings.Fields(string(have)) {
		if (slices.Contains(wanted, c) || c == "cpuset" || c == "io") && !slices.Contains(enabled, c) {
			add = append(add, "+"+c)
		}
	}
	if len(add) == 0 {
		return nil
	}
	err = writeFile(dir, "cgroup.subtree_control", strings.Join(add, " "))
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("%w: cgroup %s holds processes itself, so cgroup v2 cannot pass its controllers on; move them into a child cgroup", err, dir)
	}
	return err
}
