package testbed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// privateMounts gives this mount namespace its own /proc, /run, /var/log and /var/lib. The scratch directory becomes a
// tmpfs if it lies on an overlay (in a container), because overlays do not stack.
func privateMounts(scratch string) error {
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, dir := range []string{"/run", "/var/log", "/var/lib"} {
		if err := hide(dir, append(needed(), scratch)); err != nil {
			return err
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(scratch, &fs); err != nil {
		return fmt.Errorf("statfs %s: %w", scratch, err)
	}
	if fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
		if err := unix.Mount("tmpfs", scratch, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", scratch, err)
		}
	}
	// Pods with mount propagation need shared mounts, as on any machine that systemd has set up.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	return nil
}

// needed lists what must stay visible wherever it lies: the tests, what they are made of, and the resolver's files
// that /etc/resolv.conf may link to.
func needed() []string {
	keep := []string{os.Getenv("HOME"), os.Getenv("BOSUN_CACHE"), "/run/systemd/resolve", "/run/resolvconf"}
	if dir, err := os.Getwd(); err == nil {
		keep = append(keep, moduleRoot(dir))
	}
	if exe, err := os.Executable(); err == nil {
		keep = append(keep, filepath.Dir(exe))
	}
	return keep
}

// hide mounts an empty tmpfs over dir, in which only the kept directories are still what they were.
func hide(dir string, keep []string) error {
	open := map[string]*os.File{}
	for _, path := range keep {
		if !strings.HasPrefix(path, dir+"/") {
			continue
		}
		f, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			continue // not there, so nothing to keep
		}
		defer f.Close()
		open[path] = f
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	for path, f := range open {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("keep %s: %w", path, err)
		}
	}
	return nil
}

// moduleRoot is the nearest directory at or above dir with a go.mod, else dir.
func moduleRoot(dir string) string {
	for at := dir; at != "/"; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
	}
	return dir
}
