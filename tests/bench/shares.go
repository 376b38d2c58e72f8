package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// shares is the CPU time that each program of this run has used so far. What short-lived ones use, such as runc and
// CNI plugins, is only in the whole.
type shares map[string]time.Duration

const whole = "all together"

func sharesNow() shares {
	s := shares{}
	names, _ := filepath.Glob("/proc/[0-9]*/comm") // the pattern is good
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(filepath.Dir(name)), "%d", &pid); err != nil {
			continue
		}
		if used, err := cpuOf(pid); err == nil {
			s[strings.TrimSpace(string(text))] += used
		}
	}
	for file, unit := range map[string]time.Duration{"cpuacct/cpuacct.usage": time.Nanosecond, "cpu.stat": time.Microsecond} {
		text, err := os.ReadFile("/sys/fs/cgroup/" + file)
		if err != nil {
			continue // the other version of cgroups
		}
		var used int64
		if _, err := fmt.Sscan(strings.TrimPrefix(string(text), "usage_usec "), &used); err == nil {
			s[whole] = time.Duration(used) * unit
		}
	}
	return s
}

// print shows what was used since before, for each of so many pods.
func (s shares) print(title string, before shares, pods int) {
	fmt.Printf("\n%s, CPU in ms for each of %d pods:", title, pods)
	used := map[string]float64{}
	for name, d := range s {
		if d -= before[name]; d > 0 {
			used[name] = inMS(d) / float64(pods)
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(used), func(a, b string) int { return int(1000 * (used[b] - used[a])) }) {
		if used[name] >= 0.1 {
			fmt.Printf(" %s %.1f,", name, used[name])
		}
	}
	fmt.Println()
}
