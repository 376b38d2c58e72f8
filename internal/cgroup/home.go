package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Home is a cgroup that processes of the machine are moved into: the agent (kubeletCgroups), or those that are in none (systemCgroups);
// behaviour 215. On cgroup v1 they are moved in the hierarchies that limit processors, memory and processes; others, such as systemd's own,
// are left as they are.
type Home struct {
	path string
	name Name
	in   []hierarchy
	// proc is where processes are looked up.
	proc string
}

// NewHome makes the cgroup at a path, from the top, if it is not there.
func NewHome(path string) (*Home, error) {
	l, err := findLayout()
	if err != nil {
		return nil, err
	}
	return newHome(path, l)
}

func newHome(path string, l layout) (*Home, error) {
	n, err := ParseRoot(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%q is no path of a cgroup: must not contain '..'", path)
	case len(n) == 0:
		return nil, fmt.Errorf("%q is no path of a cgroup below the top: must be such as /podruntime.slice", path)
	}
	h := &Home{path: path, name: n, in: l.limiting(), proc: "/proc"}
	for i := range h.in {
		if err := h.make(&h.in[i]); err != nil {
			return nil, fmt.Errorf("make cgroup %s: %w", path, err)
		}
	}
	return h, nil
}

func (h *Home) make(in *hierarchy) error {
	if _, err := os.Stat(h.dir(in)); err == nil {
		return nil // as it is: somebody else may have made it
	}
	for dir, rest := in.dir, h.name; len(rest) > 0; rest = rest[1:] {
		if in.unified {
			if err := delegate(dir); err != nil {
				return err
			}
		}
		dir = filepath.Join(dir, rest[0])
		if err := unix.Mkdir(dir, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: err}
		}
	}
	return nil
}

func (h *Home) dir(in *hierarchy) string {
	return filepath.Join(append([]string{in.dir}, h.name...)...)
}

// Take moves a process and its threads into the cgroup, and tells whether it was elsewhere. One that has ended is no error.
func (h *Home) Take(pid int) (moved bool, err error) {
	for i := range h.in {
		here, err := members(h.dir(&h.in[i]))
		if errors.Is(err, fs.ErrNotExist) { // somebody has removed it
			if err = h.make(&h.in[i]); err != nil {
				return moved, fmt.Errorf("make cgroup %s: %w", h.path, err)
			}
		} else if err != nil {
			return moved, fmt.Errorf("look into cgroup %s: %w", h.path, err)
		}
		if slices.Contains(here, pid) {
			continue
		}
		if err := h.put(&h.in[i], pid); err != nil {
			return moved, err
		}
		moved = true
	}
	return moved, nil
}

func (h *Home) put(in *hierarchy, pid int) error {
	err := writeFile(h.dir(in), "cgroup.procs", strconv.Itoa(pid))
	switch {
	case err == nil, errors.Is(err, unix.ESRCH):
		return nil
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("move process %d into cgroup %s: it passes controllers on to cgroups below it, so cgroup v2 lets no process in; name one below it: %w", pid, h.path, err)
	}
	return fmt.Errorf("move process %d into cgroup %s: %w", pid, h.path, err)
}

// TakeStrays moves those processes that are at the top, in no cgroup of their own, and returns how often that was done. One that cannot be
// moved, such as one with a priority of real time on cgroup v1, keeps no other from it.
func (h *Home) TakeStrays() (moved int, err error) {
	for i := range h.in {
		pids, wrong := members(h.in[i].dir)
		if wrong != nil {
			return moved, fmt.Errorf("look for processes without a cgroup: %w", wrong)
		}
		for _, pid := range Strays(pids, h.kernel) {
			if wrong := h.put(&h.in[i], pid); wrong == nil {
				moved++
			} else if err == nil {
				err = wrong
			}
		}
	}
	return moved, err
}

// Strays are those of the processes at the top that are to be in a cgroup of their own: not the first of the machine, whose cgroup is its own
// choice, and not the kernel's.
func Strays(top []int, kernel func(pid int) bool) []int {
	var out []int
	for _, pid := range top {
		if pid > 1 && !kernel(pid) { // 0 is a process that cannot be seen from here
			out = append(out, pid)
		}
	}
	return out
}

// kernel tells whether a process is a thread of the kernel, or cannot be told to be another.
func (h *Home) kernel(pid int) bool {
	text, err := os.ReadFile(filepath.Join(h.proc, strconv.Itoa(pid), "stat"))
	return err != nil || kernelThread(string(text))
}

// kernelThread reads the flags of a process, the ninth field: what comes before may hold blanks, in parentheses.
func kernelThread(stat string) bool {
	const flag = 0x00200000 // PF_KTHREAD
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 7 {
		return true
	}
	flags, err := strconv.ParseUint(fields[6], 10, 64)
	return err != nil || flags&flag != 0
}

// members are the processes in a cgroup.
func members(dir string) ([]int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	var pids []int
	for line := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(line); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
