package process

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// CheckCgroup looks which version of cgroups the machine has. Version 1, also with an empty version 2 beside it, is an
// error if the configuration says so (failCgroupV1), and a warning if not (behaviour 301).
func CheckCgroup(root string, fail bool) (warning string, err error) {
	v2, err := CgroupV2(root)
	if err != nil {
		return "", err
	}
	return judgeCgroup(v2, fail)
}

// CgroupV2 tells whether cgroup v2 is what is mounted at /sys/fs/cgroup.
func CgroupV2(root string) (bool, error) {
	var st unix.Statfs_t
	dir := filepath.Join(root, "sys/fs/cgroup")
	if err := unix.Statfs(dir, &st); err != nil {
		return false, fmt.Errorf("find out the version of cgroups: %w", &fs.PathError{Op: "statfs", Path: dir, Err: err})
	}
	return st.Type == unix.CGROUP2_SUPER_MAGIC, nil
}

func judgeCgroup(v2, fail bool) (warning string, err error) {
	const v2Boot = "boot with systemd.unified_cgroup_hierarchy=1 for cgroup v2"
	switch {
	case v2:
		return "", nil
	case fail:
		return "", fmt.Errorf("this machine uses cgroup v1, and failCgroupV1 is true: %s, or set failCgroupV1: false in the configuration file", v2Boot)
	}
	return "this machine uses cgroup v1: limits on swap, memory quality of service and pressure figures need cgroup v2; " + v2Boot, nil
}
