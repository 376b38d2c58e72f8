package testbed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A cgroupMount is one cgroup hierarchy of this machine.
type cgroupMount struct {
	path    string
	v2      bool
	options string // what names the hierarchy when mounting it (v1)
}

func cgroupMounts() ([]cgroupMount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []cgroupMount
	for line := range strings.Lines(string(data)) {
		before, after, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 5 || len(right) < 3 || (right[0] != "cgroup" && right[0] != "cgroup2") {
			continue
		}
		var controllers []string
		for option := range strings.SplitSeq(right[2], ",") {
			if option != "rw" && option != "ro" && option != "xattr" && option != "clone_children" && !strings.HasPrefix(option, "release_agent=") {
				controllers = append(controllers, option)
			}
		}
		mounts = append(mounts, cgroupMount{path: left[4], v2: right[0] == "cgroup2", options: strings.Join(controllers, ",")})
	}
	return mounts, nil
}

// enterCgroups makes one cgroup called name in every hierarchy, moves this process there, and mounts the hierarchies anew
// in a cgroup namespace: from then on that cgroup is "/". The thread must be locked.
func enterCgroups(name string) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		dir := filepath.Join(m.path, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		if m.v2 {
			delegate(m.path)
		}
		if slices.Contains(strings.Split(m.options, ","), "cpuset") {
			if err := inheritCpuset(m.path, dir); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return err
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, m := range mounts {
		fstype, options := "cgroup", m.options
		if m.v2 {
			fstype, options = "cgroup2", ""
		}
		if err := unix.Unmount(m.path, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", m.path, err)
		}
		if err := unix.Mount(fstype, m.path, fstype, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RELATIME, options); err != nil {
			return fmt.Errorf("mount %s (%s): %w", m.path, options, err)
		}
		if m.v2 {
			if err := stepAside(m.path); err != nil {
				return err
			}
		}
	}
	return nil
}

// stepAside moves this process from the top of a v2 hierarchy into a leaf: a cgroup with processes of its own gives
// its children no controllers.
func stepAside(top string) error {
	leaf := filepath.Join(top, "testbed")
	if err := os.Mkdir(leaf, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte("0"), 0); err != nil {
		return err
	}
	delegate(top)
	return nil
}

// delegate offers a v2 cgroup's controllers to its children, those that can be: the rest stay as they are.
func delegate(dir string) {
	controllers, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers")) // absent: nothing to offer
	for _, c := range strings.Fields(string(controllers)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0)
	}
}

// inheritCpuset gives a new v1 cpuset the processors of its parent: without any it takes no process.
func inheritCpuset(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0); err != nil {
			return err
		}
	}
	return nil
}

// removeCgroups removes the cgroups called name, with all below. Their processes must be dead.
func removeCgroups(name string) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range mounts {
		top := filepath.Join(m.path, name)
		var dirs []string
		err := filepath.WalkDir(top, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		slices.Reverse(dirs) // children first
		for _, dir := range dirs {
			err = errors.Join(err, removeCgroup(dir))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// removeCgroup tries for some seconds: the kernel lets go of a dead process's cgroup a moment after its end,
// and there is no event to wait for.
func removeCgroup(dir string) error {
	deadline := time.Now().Add(5 * time.Second)
	for {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
		<-time.After(10 * time.Millisecond)
	}
}
