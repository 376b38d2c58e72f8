package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuOf is the CPU time a process has used so far, user and system, with that of threads that have ended.
func cpuOf(pid int) (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED: see clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &t); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// memory is what a process has in memory, in KiB.
type memory struct {
	RSS  int64 `json:"rss_kib"`
	Anon int64 `json:"anon_kib"` // of RSS: its own data
	File int64 `json:"file_kib"` // of RSS: pages of its binary, which the kernel can drop
	PSS  int64 `json:"pss_kib"`
}

func memoryOf(pid int) (memory, error) {
	status, err := fields(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, err
	}
	rollup, err := fields(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return memory{}, err
	}
	return memory{RSS: status["VmRSS"], Anon: status["RssAnon"], File: status["RssFile"], PSS: rollup["Pss"]}, nil
}

// wakeups counts how often a process' threads went to sleep and so were woken.
func wakeups(pid int) (int64, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		return 0, fmt.Errorf("process %d has no threads", pid)
	}
	var sum int64
	for _, path := range threads {
		status, err := fields(path)
		if err != nil {
			continue // the thread has ended
		}
		sum += status["voluntary_ctxt_switches"]
	}
	return sum, nil
}

// fields reads lines such as "VmRSS:	  1234 kB".
func fields(path string) (map[string]int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	found := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		words := strings.Fields(rest)
		if len(words) == 0 {
			continue
		}
		if n, err := strconv.ParseInt(words[0], 10, 64); err == nil {
			found[name] = n
		}
	}
	return found, nil
}

// processWith finds the process whose command line has both words.
func processWith(program, argument string) (int, error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, path := range lines {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		words := strings.Split(string(bytes.TrimRight(text, "\x00")), "\x00")
		if filepath.Base(words[0]) != program {
			continue
		}
		for _, word := range words[1:] {
			if word == argument {
				return strconv.Atoi(filepath.Base(filepath.Dir(path)))
			}
		}
	}
	return 0, fmt.Errorf("no process %s … %s", program, argument)
}
