package guest

import (
	"encoding/json"
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
	total := 1024 * number(t, "/proc/meminfo", "", "MemTotal:")
	if m := n.Memory; m == nil || *m.UsageBytes == 0 || *m.UsageBytes > total || *m.WorkingSetBytes > *m.UsageBytes || *m.AvailableBytes != total-*m.WorkingSetBytes {
		t.Errorf("memory of the node: %+v", n.Memory)
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

// number reads the number after a word.
func number(t *testing.T, dir, file, word string) uint64 {
	t.Helper()
	fields := strings.Fields(read(t, filepath.Join(dir, file)))
	for i := range fields {
		if i > 0 && fields[i-1] == word {
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
