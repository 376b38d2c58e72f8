package guest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// answer asks the read-only server.
func answer(t *testing.T, path string) string {
	t.Helper()
	client := http.Client{Timeout: patience}
	resp, err := client.Get("http://127.0.0.1:10255" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v: %s", path, resp.StatusCode, err, body)
	}
	return string(body)
}

func summaryOf(t *testing.T) *stats.Summary {
	t.Helper()
	var s stats.Summary
	if err := json.Unmarshal([]byte(answer(t, "/stats/summary")), &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func podIn(t *testing.T, s *stats.Summary, name string) *stats.PodStats {
	t.Helper()
	for i := range s.Pods {
		if s.Pods[i].PodRef.Name == name {
			return &s.Pods[i]
		}
	}
	t.Fatalf("nothing is told of pod %s", name)
	return nil
}

// checkNode: the top of cgroup v2 has no file for memory in use; it is told all the same.
func checkNode(t *testing.T, n *stats.NodeStats) {
	t.Helper()
	// Huge pages are set aside, and neither used nor available.
	total := 1024 * (number(t, "/proc", "meminfo", "MemTotal:") - number(t, "/proc", "meminfo", "Hugetlb:"))
	if number(t, "/proc", "meminfo", "Hugetlb:") == 0 {
		t.Error("there are no huge pages")
	}
	if m := n.Memory; *m.UsageBytes == 0 || *m.UsageBytes > total || *m.WorkingSetBytes > *m.UsageBytes || *m.AvailableBytes != total-*m.WorkingSetBytes {
		t.Errorf("memory of the node, which has %d bytes: %d used, %d in the working set, %d available", total, *m.UsageBytes, *m.WorkingSetBytes, *m.AvailableBytes)
	}
	if n.CPU == nil || *n.CPU.UsageCoreNanoSeconds == 0 || n.CPU.PSI == nil {
		t.Errorf("processors of the node: %+v", n.CPU)
	}
	if n.Fs == nil || n.Runtime == nil || n.Runtime.ImageFs == nil || *n.Runtime.ImageFs.UsedBytes == 0 {
		t.Errorf("disks of the node: %+v %+v", n.Fs, n.Runtime)
	}
	if n.Rlimit == nil || *n.Rlimit.NumOfRunningProcesses == 0 {
		t.Errorf("processes of the node: %+v", n.Rlimit)
	}
	if time.Since(n.StartTime.Time) < 0 || n.StartTime.IsZero() {
		t.Errorf("the node started at %v", n.StartTime)
	}
	for _, c := range n.SystemContainers {
		if c.Name == stats.SystemContainerPods && *c.Memory.UsageBytes > 0 {
			return
		}
	}
	t.Errorf("nothing is told of all pods: %+v", n.SystemContainers)
}

// checkNumbers compares what /metrics/cadvisor tells of a container with its cgroup's files, and with the pod's name what
// /metrics/resource and the summary tell.
func checkNumbers(t *testing.T, dir, pod string) {
	t.Helper()
	const mega = 1e6
	// Each file, the word before the number, what is told, and how many of the file's units are one of what is told.
	all := []struct {
		file, word, name string
		unit             float64
		holds            []string
	}{
		{"cpu.stat", "usage_usec", "container_cpu_usage_seconds_total", mega, nil},
		{"cpu.stat", "user_usec", "container_cpu_user_seconds_total", mega, nil},
		{"cpu.stat", "system_usec", "container_cpu_system_seconds_total", mega, nil},
		{"cpu.stat", "nr_periods", "container_cpu_cfs_periods_total", 1, nil},
		{"cpu.stat", "nr_throttled", "container_cpu_cfs_throttled_periods_total", 1, nil},
		{"cpu.stat", "throttled_usec", "container_cpu_cfs_throttled_seconds_total", mega, nil},
		{"memory.current", "", "container_memory_usage_bytes", 1, nil},
		{"memory.peak", "", "container_memory_max_usage_bytes", 1, nil},
		{"memory.stat", "anon", "container_memory_rss", 1, nil},
		{"memory.stat", "file", "container_memory_cache", 1, nil},
		{"memory.stat", "kernel", "container_memory_kernel_usage", 1, nil},
		{"memory.stat", "file_mapped", "container_memory_mapped_file", 1, nil},
		{"memory.stat", "pgfault", "container_memory_failures_total", 1, []string{`failure_type="pgfault"`, `scope="container"`}},
		{"memory.stat", "pgmajfault", "container_memory_failures_total", 1, []string{`failure_type="pgmajfault"`, `scope="hierarchy"`}},
		{"memory.swap.current", "", "container_memory_swap", 1, nil},
		{"memory.events", "max", "container_memory_events_max_total", 1, nil},
		{"memory.events", "oom_kill", "container_oom_events_total", 1, nil},
		{"pids.current", "", "container_threads", 1, nil},
		{"pids.max", "", "container_threads_max", 1, nil},
		{"cpu.pressure", "some", "container_pressure_cpu_waiting_seconds_total", mega, nil},
		{"memory.pressure", "some", "container_pressure_memory_waiting_seconds_total", mega, nil},
		{"memory.pressure", "full", "container_pressure_memory_stalled_seconds_total", mega, nil},
		{"io.pressure", "full", "container_pressure_io_stalled_seconds_total", mega, nil},
	}
	raw := func() (values []float64) {
		for _, n := range all {
			values = append(values, value(t, dir, n.file, n.word))
		}
		return values
	}
	// Most stand still while the container waits; the others are between what they were before and after.
	eventually(t, func() error {
		before := raw()
		families := answer(t, "/metrics/cadvisor")
		after := raw()
		for i, n := range all {
			told := sample(t, families, n.name+`{container="app",`, append(n.holds, `pod="`+pod+`"`)...) * n.unit
			if told < min(before[i], after[i])-1 || told > max(before[i], after[i])+1 {
				return fmt.Errorf("%s is %v in units of %s %s, which was %v before and %v after", n.name, told, n.file, n.word, before[i], after[i])
			}
		}
		return nil
	})
}

// value reads the number after a word of a file of a cgroup; in files about pressure, the total of that line; "max" is 0.
func value(t *testing.T, dir, file, word string) float64 {
	t.Helper()
	if !strings.HasSuffix(file, ".pressure") {
		if read(t, dir, file) == "max" {
			return 0
		}
		return float64(number(t, dir, file, word))
	}
	for line := range strings.Lines(read(t, dir, file)) {
		if rest, ours := strings.CutPrefix(line, word+" "); ours {
			_, total, _ := strings.Cut(strings.TrimSpace(rest), "total=")
			n, err := strconv.ParseFloat(total, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no line %s in %s", word, filepath.Join(dir, file))
	return 0
}

// sample is the value of the first sample that begins with a word and holds the others.
func sample(t *testing.T, text, begins string, holds ...string) float64 {
	t.Helper()
lines:
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, begins) {
			continue
		}
		for _, word := range holds {
			if !strings.Contains(line, word) {
				continue lines
			}
		}
		_, value, _ := strings.Cut(line, "} ")
		n, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	t.Fatalf("no sample %s %v", begins, holds)
	return 0
}

// number reads the number after a word; the first if there is no word.
func number(t *testing.T, dir, file, word string) uint64 {
	t.Helper()
	fields := strings.Fields(read(t, filepath.Join(dir, file)))
	for i := range fields {
		if word == "" || i > 0 && fields[i-1] == word {
			n, err := strconv.ParseUint(fields[i], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in %s", word, filepath.Join(dir, file))
	return 0
}
