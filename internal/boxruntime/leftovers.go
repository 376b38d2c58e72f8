package boxruntime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// killPods ends the shims of this runtime and all processes below them, containers first, and waits until they are gone.
func killPods(ctx context.Context, c Config) error {
	table, err := processTable()
	if err != nil {
		return err
	}
	var errs []error
	var killed []*process
	for _, r := range podProcesses(table, c.SocketPath) {
		p, err := openProcess(r.pid, r.start)
		if errors.Is(err, errNoProcess) {
			continue
		} else if err != nil {
			errs = append(errs, err)
			continue
		}
		defer p.close()
		if err := p.signal(unix.SIGKILL); err != nil {
			errs = append(errs, err)
			continue
		}
		killed = append(killed, p)
	}
	ctx, cancel := context.WithTimeout(ctx, killPatience)
	defer cancel()
	for _, p := range killed {
		if err := p.wait(ctx); err != nil {
			errs = append(errs, fmt.Errorf("wait for process %d of a pod to end: %w", p.pid, err))
		}
	}
	return errors.Join(errs...)
}

// unmountBelow unmounts everything below dir, deepest first. One that is busy is detached: it goes when its last user does.
func unmountBelow(dir string) error {
	mounts, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	var errs []error
	for i := len(mounts) - 1; i >= 0; i-- { // the kernel lists them in the order they were made
		err := unix.Unmount(mounts[i], unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) {
			err = unix.Unmount(mounts[i], unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // not a mount any more
			errs = append(errs, fmt.Errorf("unmount %s: %w", mounts[i], err))
		}
	}
	return errors.Join(errs...)
}

// mountsBelow lists mount points strictly below dir.
func mountsBelow(dir string) ([]string, error) {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(m.Mountpoint, strings.TrimSuffix(dir, "/")+"/"), false
	})
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	var points []string
	for _, m := range mounts {
		points = append(points, m.Mountpoint)
	}
	return points, nil
}

// removeTree removes dir and what is in it. It refuses while anything is mounted below: that could be a user's data.
func removeTree(dir string) error {
	mounts, err := mountsBelow(dir)
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("remove %s: %s is still mounted below it; unmount it first", dir, mounts[0])
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}

// removeContents empties a directory. No directory is success.
func removeContents(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("empty %s: %w", dir, err)
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, removeTree(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}

// cniResults is where containerd's CNI library notes what it set up; the place cannot be configured.
const cniResults = "/var/lib/cni/results"

// containerID begins the rest of such a name: "br" is not "br-lan".
var containerID = regexp.MustCompile(`^[0-9a-f]{64}-`)

// removeResults removes the notes about a network's pods: files NETWORK-CONTAINER-INTERFACE.
func removeResults(network string) error {
	entries, err := os.ReadDir(cniResults)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove notes of the pod network: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if rest, ours := strings.CutPrefix(e.Name(), network+"-"); ours && containerID.MatchString(rest) {
			errs = append(errs, os.Remove(filepath.Join(cniResults, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// removeRules removes the iptables rules that plugins left for pods of this network that were not taken down properly.
func removeRules(ctx context.Context, network string, subnet netip.Prefix) error {
	return editRules(ctx, func(saved string) string { return leftoverRules(saved, network, subnet) })
}

// dropSharedChains removes the chains that all networks of this machine share, if no rule is left in them.
func dropSharedChains(ctx context.Context) error { return editRules(ctx, emptyChains) }

// editRules applies what edit answers to the saved rules, all of it or nothing. No iptables, no rules.
func editRules(ctx context.Context, edit func(saved string) string) error {
	save, err := exec.LookPath("iptables-save")
	if err != nil {
		return nil
	}
	// These are a few milliseconds of work and must not be cut short by a caller in a hurry.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	saved, err := exec.CommandContext(ctx, save).Output()
	if err != nil {
		return fmt.Errorf("read iptables rules: %w", withStderr(err))
	}
	script := edit(string(saved))
	if script == "" {
		return nil
	}
	cmd := exec.CommandContext(ctx, strings.TrimSuffix(save, "-save")+"-restore", "--noflush", "-w", "5")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("remove iptables rules: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func withStderr(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	return err
}

// removeCgroup removes containerd's own cgroup in every hierarchy.
func removeCgroup(path string) error {
	// Hierarchies of v1 are at /sys/fs/cgroup/NAME, that of v2 is at /sys/fs/cgroup itself.
	dirs, err := filepath.Glob("/sys/fs/cgroup/*/" + path)
	if err != nil {
		return fmt.Errorf("remove cgroup %s: %w", path, err)
	}
	var errs []error
	for _, dir := range append(dirs, filepath.Join("/sys/fs/cgroup", path)) {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}
