package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/safepath"
)

// patience is how long Remove waits for killed processes to be gone. A process in an uninterruptible call to a dead
// disk can outlive any wait; the caller then tries again later.
const patience = 10 * time.Second

// Remove kills whatever is left in a pod's cgroup and removes it from every hierarchy, the runtime's cgroups beneath
// it included. It is no error if it is not there. It returns once it is gone, or with an error after 10 seconds.
func (t *Tree) Remove(ctx context.Context, uid types.UID) error {
	if err := safepath.Component(string(uid)); err != nil {
		return fmt.Errorf("remove cgroup of pod %q: %w", uid, err)
	}
	for _, class := range classes {
		if err := t.remove(ctx, t.root.Pod(class, uid)); err != nil {
			return fmt.Errorf("remove cgroup of pod %s: %w", uid, err)
		}
	}
	return nil
}

// Destroy removes all pods' cgroups, the kubepods tree, and a configured root if it is empty then.
func (t *Tree) Destroy(ctx context.Context) error {
	uids, err := t.Pods()
	if err != nil {
		return err
	}
	for _, uid := range uids {
		if err := t.Remove(ctx, uid); err != nil {
			return err
		}
	}
	for _, class := range slices.Backward(classes) { // kubepods is the last
		if err := t.remove(ctx, t.root.QOS(class)); err != nil {
			return fmt.Errorf("remove cgroup %s: %w", t.root.QOS(class).Path(t.driver), err)
		}
	}
	for i := len(t.root); i > 0; i-- {
		for _, h := range t.layout.all {
			_ = t.rmdir(t.path(&h, t.root[:i])) // others may live there
		}
	}
	return nil
}

func (t *Tree) remove(ctx context.Context, n Name) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if t.units != nil && t.exists(n) {
		// systemd would wait for processes its own way: end them first.
		if _, err := t.kill(ctx, t.dirs(n)); err != nil {
			return err
		}
		if err := t.units.stop(n); err != nil {
			return err
		}
	}
	wait := time.Millisecond
	for {
		var busy []string
		for _, dir := range t.dirs(n) {
			gone, err := t.removeDir(dir)
			if err != nil {
				return err
			}
			if !gone {
				busy = append(busy, dir)
			}
		}
		if len(busy) == 0 {
			return nil
		}
		killed, err := t.kill(ctx, t.dirs(n))
		if err != nil {
			return err
		}
		if killed == 0 {
			// No process is seen, yet the kernel says busy: a dying one is just being let go.
			if err := pause(ctx, wait); err != nil {
				return fmt.Errorf("%s: %w", strings.Join(busy, ", "), err)
			}
			wait = min(2*wait, 100*time.Millisecond)
		}
	}
}

// dirs are the places a cgroup can be in, in all hierarchies.
func (t *Tree) dirs(n Name) []string {
	dirs := make([]string, len(t.layout.all))
	for i := range t.layout.all {
		dirs[i] = t.path(&t.layout.all[i], n)
	}
	return dirs
}

// removeDir removes a cgroup and those beneath it. gone is false if processes keep it.
func (t *Tree) removeDir(dir string) (gone bool, err error) {
	for range 2 {
		switch err := t.rmdir(dir); {
		case err == nil, errors.Is(err, fs.ErrNotExist):
			return true, nil
		case !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY):
			return false, &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		for _, child := range children(dir) {
			gone, err := t.removeDir(child)
			if err != nil || !gone {
				return false, err
			}
		}
	}
	return false, nil
}

func children(dir string) []string {
	entries, _ := os.ReadDir(dir) // a cgroup that just went has none
	var out []string
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out
}

// kill ends every process in these cgroups and beneath them, and waits until they are gone. It returns how many
// processes or populated v2 cgroups it met.
func (t *Tree) kill(ctx context.Context, dirs []string) (int, error) {
	met := 0
	for _, dir := range dirs {
		n, err := killUnified(ctx, dir)
		if errors.Is(err, fs.ErrNotExist) { // cgroup v1, or Linux before 5.14
			n, err = killEach(ctx, dir, dirs)
		}
		if err != nil {
			return met, err
		}
		met += n
	}
	return met, nil
}

// killUnified ends a cgroup v2 subtree at once, and waits for the kernel's word that it is empty.
func killUnified(ctx context.Context, dir string) (int, error) {
	if _, err := os.Stat(filepath.Join(dir, "cgroup.kill")); err != nil {
		return 0, err
	}
	events, err := os.Open(filepath.Join(dir, "cgroup.events"))
	if err != nil {
		return 0, err
	}
	defer events.Close()
	buf := make([]byte, 256)
	met := 0
	for {
		n, err := events.ReadAt(buf, 0)
		if n == 0 && err != nil {
			if errors.Is(err, unix.ENODEV) { // removed meanwhile
				return met, nil
			}
			return met, err
		}
		if !strings.Contains(string(buf[:n]), "populated 1") {
			return met, nil
		}
		if met == 0 {
			met = 1
			if err := writeFile(dir, "cgroup.kill", "1"); err != nil {
				return met, err
			}
			continue
		}
		set := []unix.PollFd{{Fd: int32(events.Fd()), Events: unix.POLLPRI}}
		if err := poll(ctx, set); err != nil {
			return met, fmt.Errorf("processes in %s do not end: %w", dir, err)
		}
	}
}

// killEach ends the processes of a v1 cgroup one by one. A frozen process does not die; all are the places where it
// may be frozen.
func killEach(ctx context.Context, dir string, all []string) (int, error) {
	met := 0
	for {
		pids, err := processes(dir)
		if err != nil || len(pids) == 0 {
			return met, err
		}
		met += len(pids)
		// A batch at a time: each process costs a descriptor. The rest is met again in the next round.
		if err := killBatch(ctx, dir, all, pids[:min(len(pids), 256)]); err != nil {
			return met, err
		}
	}
}

func killBatch(ctx context.Context, dir string, all []string, pids []int) error {
	var set []unix.PollFd
	opened := map[int]int{}
	defer func() {
		for _, fd := range opened {
			unix.Close(fd)
		}
	}()
	for _, pid := range pids {
		if pid == os.Getpid() {
			return fmt.Errorf("the agent itself is in %s", dir)
		}
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			opened[pid] = fd
		}
	}
	// A number may have been given to another process between the listing and the opening. Who is still listed now
	// is the one that was opened.
	still, err := processes(dir)
	if err != nil {
		return err
	}
	for _, pid := range still {
		fd, ok := opened[pid]
		if !ok {
			continue
		}
		if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
			return fmt.Errorf("kill process %d of %s: %w", pid, dir, err)
		}
		set = append(set, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	for _, d := range all {
		thaw(d)
	}
	for len(set) > 0 {
		if err := poll(ctx, set); err != nil {
			return fmt.Errorf("%d processes in %s do not end: %w", len(set), dir, err)
		}
		set = slices.DeleteFunc(set, func(p unix.PollFd) bool { return p.Revents != 0 })
	}
	return nil
}

// thaw lets frozen processes of a v1 freezer cgroup run, so that they can die.
func thaw(dir string) {
	_ = writeFile(dir, "freezer.state", "THAWED") // no such file in other hierarchies
	for _, child := range children(dir) {
		thaw(child)
	}
}

// processes lists the processes in a cgroup and those beneath it. Those of other process namespaces show as 0 and
// cannot be met; they are left out.
func processes(dir string) ([]int, error) {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var pids []int
	for line := range strings.Lines(string(data)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	for _, child := range children(dir) {
		more, err := processes(child)
		if err != nil {
			return nil, err
		}
		pids = append(pids, more...)
	}
	return pids, nil
}

// poll waits until one of the descriptors has something, or ctx ends.
func poll(ctx context.Context, set []unix.PollFd) error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return err
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_, _ = unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		close(fired)
	})
	defer func() {
		if !stop() {
			<-fired
		}
		unix.Close(wake)
	}()
	all := append(slices.Clone(set), unix.PollFd{Fd: int32(wake), Events: unix.POLLIN})
	for {
		_, err := unix.Poll(all, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		copy(set, all)
		return ctx.Err()
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
