package testbed

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// PowerOff takes from the bed what a machine loses when its power fails: all processes, those of an agent that was started
// with a path of the bed too, mounts, cgroups, the network of pods, and containerd's files of this boot. What is on disk
// stays. Restart brings containerd back.
func (b *Bed) PowerOff() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.daemon == nil {
		return errors.New("testbed: containerd does not run")
	}
	err := b.daemon.end(syscall.SIGKILL)
	b.daemon = nil
	err = errors.Join(err, killFamilies(b.Dir+"/"), unmountBelow(b.Dir))
	if _, missing := os.Stat(filepath.Join("/proc/sys/net/ipv4/conf", b.bridge)); missing == nil {
		err = errors.Join(err, exec.Command("ip", "link", "delete", b.bridge).Run())
	}
	return errors.Join(err, removeCgroups(filepath.Base(b.CgroupParent)), os.RemoveAll(filepath.Join(b.Dir, "state")))
}
