package testbed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// killFamilies kills every process with the mark in its command line, and all its descendants: the shims of a bed
// and their containers. It returns when they are dead.
func killFamilies(mark string) error {
	deadline := time.Now().Add(startDeadline)
	for {
		// A shim may have been forking: look again until a look finds none.
		family := families(mark)
		if len(family) == 0 {
			return nil
		}
		for _, pid := range family {
			if err := killAndWait(pid, deadline); err != nil {
				return err
			}
		}
	}
}

// families lists ancestors before descendants: with a shim dead first, its containers become orphans that init reaps.
func families(mark string) []int {
	parent := map[int]int{}
	var found []int
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well-formed
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent ...: the name may hold spaces and parentheses.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		if parent[pid], err = strconv.Atoi(fields[1]); err != nil {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil && strings.Contains(string(cmdline), mark) {
			found = append(found, pid)
		}
	}
	for i := 0; i < len(found); i++ {
		for child, p := range parent {
			if p == found[i] && !slices.Contains(found, child) {
				found = append(found, child)
			}
		}
	}
	return found
}

func killAndWait(pid int, deadline time.Time) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for process %d: %w", pid, err)
		case n == 0:
			return fmt.Errorf("process %d did not end on SIGKILL", pid)
		default:
			return nil
		}
	}
}

// unmountBelow unmounts everything below dir, innermost first.
func unmountBelow(dir string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			points = append(points, fields[4])
		}
	}
	slices.Reverse(points)
	var errs []error
	for _, point := range points {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", point, err)) // EINVAL: went with another
		}
	}
	return errors.Join(errs...)
}
