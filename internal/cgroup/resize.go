package cgroup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
)

// ErrInUse means that a memory limit below what is used now was asked for; nothing was changed (behaviour 227).
var ErrInUse = errors.New("more memory is in use than the new limit allows")

// Grow raises the limits of a pod's cgroup to what the pod has now, and lowers none: so there is room for what its containers
// had and for what they are to have (behaviour 226). A cgroup that is missing is made. own is as for Ensure.
func (t *Tree) Grow(ctx context.Context, pod *v1.Pod, own bool) error {
	n, err := t.pod(pod)
	if err != nil || t.flat {
		return err
	}
	if !t.exists(n) {
		return t.Ensure(ctx, pod, own)
	}
	r, err := t.raised(n, resizable(t.resources(pod, own)))
	if err == nil {
		err = t.set(n, r)
	}
	if err != nil {
		return fmt.Errorf("raise limits of cgroup of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

// Settle gives a pod's cgroup the limits of what the pod has now. A memory limit below the present use is ErrInUse.
// own is as for Ensure.
func (t *Tree) Settle(ctx context.Context, pod *v1.Pod, own bool) error {
	if t.flat {
		return nil
	}
	return t.Update(ctx, pod, resizable(t.resources(pod, own)))
}

// resizable are the limits that can change while a pod runs.
func resizable(r Resources) Resources {
	return Resources{CPUShares: r.CPUShares, CPUQuota: r.CPUQuota, CPUPeriod: r.CPUPeriod, Memory: r.Memory, Unified: r.Unified}
}

// raised leaves out of r what would lower a limit.
func (t *Tree) raised(n Name, r Resources) (Resources, error) {
	r.Unified = nil // protection is no limit: it may come when all is settled
	for i := range t.limiting {
		h := &t.limiting[i]
		dir := t.path(h, n)
		now, err := read(h, dir)
		if err != nil {
			return Resources{}, err
		}
		if h.has("cpu") {
			if now.CPUShares >= r.CPUShares {
				r.CPUShares = 0
			}
			if !above(r.CPUQuota, now.CPUQuota) {
				r.CPUQuota = 0
			}
		}
		if h.has("memory") && !above(r.Memory, now.Memory) {
			r.Memory = 0
		}
	}
	return r, nil
}

// above tells whether a limit is higher than another one; less than 0 is none.
func above(limit, than int64) bool { return than >= 0 && (limit < 0 || limit > than) }

// read returns what a cgroup has now. On cgroup v2 the shares are the most that its weight can stand for.
func read(h *hierarchy, dir string) (r Resources, err error) {
	number := func(file string) int64 {
		v, e := readInt(dir, file)
		err = errors.Join(err, e)
		return v
	}
	cpu, memory := h.has("cpu"), h.has("memory")
	switch {
	case cpu && h.unified:
		weight := max(number("cpu.weight"), 1)
		r.CPUShares = sharesOf(uint64(weight))
		text, e := os.ReadFile(filepath.Join(dir, "cpu.max"))
		err = errors.Join(err, e)
		quota, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
		if r.CPUQuota, e = strconv.ParseInt(quota, 10, 64); e != nil {
			r.CPUQuota = -1 // "max"
		}
	case cpu:
		r.CPUShares, r.CPUQuota = uint64(max(number("cpu.shares"), 0)), number("cpu.cfs_quota_us")
	}
	switch {
	case memory && h.unified:
		r.Memory = number("memory.max")
	case memory:
		r.Memory = number("memory.limit_in_bytes") // none is a number larger than any memory
	}
	return r, err
}

// sharesOf are the most shares that have a weight.
func sharesOf(weight uint64) uint64 {
	if weight >= Weight(MaxShares) {
		return MaxShares
	}
	return MinShares + (weight*(MaxShares-MinShares)-1)/9999
}

// roomFor checks a new memory limit against what is used where the kernel would rather kill than refuse: on cgroup v2. What
// the kernel can drop at once is not counted.
func (t *Tree) roomFor(n Name, limit int64) error {
	if limit <= 0 || !t.layout.v2 {
		return nil
	}
	for i := range t.limiting {
		h := &t.limiting[i]
		if !h.has("memory") {
			continue
		}
		dir := t.path(h, n)
		used, err := readInt(dir, "memory.current")
		if err != nil {
			return err
		}
		if used -= idleCache(dir); used > limit {
			return fmt.Errorf("%w: %d bytes used, %d wanted", ErrInUse, used, limit)
		}
	}
	return nil
}

// idleCache is how many bytes of a cgroup's memory hold files that nobody has used for long; 0 if that is not known.
func idleCache(dir string) int64 {
	text, err := os.ReadFile(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return 0
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "inactive_file "); ok {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}

// Update writes new limits of a pod's cgroup that is there. A memory limit below the present use is ErrInUse.
func (t *Tree) Update(_ context.Context, pod *v1.Pod, r Resources) error {
	n, err := t.pod(pod)
	if err != nil {
		return err
	}
	if !t.exists(n) {
		return fmt.Errorf("update cgroup of pod %s/%s: %w", pod.Namespace, pod.Name, fs.ErrNotExist)
	}
	if err = t.roomFor(n, r.Memory); err == nil {
		err = t.set(n, r)
	}
	if r.Memory > 0 && errors.Is(err, unix.EBUSY) { // cgroup v1 has tried to make room
		err = fmt.Errorf("%w: %d bytes wanted: %w", ErrInUse, r.Memory, err)
	}
	if err != nil {
		return fmt.Errorf("update cgroup of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}
