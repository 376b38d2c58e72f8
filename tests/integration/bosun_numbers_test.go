package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/bosun-project/bosun/internal/serve"
	"github.com/bosun-project/bosun/internal/testbed"
)

// stuck lets the first bytes of what it answers through, and the rest when it is released.
type stuck struct {
	http.ResponseWriter
	left     int
	released <-chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	first := min(s.left, len(p))
	n, err := s.ResponseWriter.Write(p[:first])
	s.left -= n
	if err != nil || n == len(p) {
		return n, err
	}
	if err := http.NewResponseController(s.ResponseWriter).Flush(); err != nil {
		return n, err
	}
	<-s.released
	m, err := s.ResponseWriter.Write(p[n:])
	return n + m, err
}

// numbers asks for metrics and returns those among these that are not there.
func (n *node) numbers(path string, lines ...string) error {
	_, text, err := n.get(path)
	if err != nil {
		return err
	}
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			return fmt.Errorf("%s has no line %q", path, line)
		}
	}
	return nil
}

// slowImage is an image in a registry that gives its first bytes at once and the rest when release is called.
func slowImage(t *testing.T, bed *testbed.Bed) (ref string, release func()) {
	t.Helper()
	const first = 3 << 19 // containerd writes a megabyte at a time
	released := make(chan struct{})
	release = sync.OnceFunc(func() { close(released) })
	registry := bed.StartRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet {
				w = &stuck{ResponseWriter: w, left: first, released: released}
			}
			next.ServeHTTP(w, r)
		})
	})
	t.Cleanup(release)
	ref, err := registry.Push("busybox", "team/box", "v1")
	if err != nil {
		t.Fatal(err)
	}
	return ref, release
}

func slowPod(image string) string {
	return "spec: {terminationGracePeriodSeconds: 0, containers: [{name: app, image: '" + image + "', command: [sleep, '1000']}]}"
}

// TestPullsTellTheirBytes: while a registry is slow, /debug/pulls tells how far a pull is, from containerd itself.
func TestPullsTellTheirBytes(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{Images: []string{}})
	ref, release := slowImage(t, n.bed)
	b := n.pod(t, "slow", slowPod(ref))
	eventually(t, func() error {
		_, text, err := n.get("/debug/pulls")
		if err != nil {
			return err
		}
		var p serve.Pulls
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			return err
		}
		if len(p.Pulls) != 1 || p.Pulls[0].Done == 0 || p.Pulls[0].Done >= p.Pulls[0].Total || p.Done != p.Pulls[0].Done {
			return fmt.Errorf("pulls are %+v", p)
		}
		return nil
	})
	release()
	b.untilRunning("app")
	eventually(t, func() error {
		return n.numbers("/metrics", `kubelet_image_manager_ensure_image_requests_total{present_locally="false",pull_policy="IfNotPresent",pull_required="true"} 1`)
	})
}

// TestUpShowsBytes: so does the line that bosun up shows.
func TestUpShowsBytes(t *testing.T) {
	t.Parallel()
	bed := testbed.Start(t, testbed.Options{Images: []string{}})
	ref, release := slowImage(t, bed)
	manifests := filepath.Join(bed.Dir, "manifests")
	if err := os.Mkdir(manifests, 0o755); err != nil {
		t.Fatal(err)
	}
	text := "apiVersion: v1\nkind: Pod\nmetadata: {name: slow}\n" + slowPod(ref)
	if err := os.WriteFile(filepath.Join(manifests, "slow.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd, ended, said := startUp(t, bed.Dir, manifests, 20910, "--images=", "--container-runtime-endpoint=unix://"+bed.Socket, "--cgroup-root="+bed.CgroupParent)
	line := regexp.MustCompile(`pulling ` + regexp.QuoteMeta(ref) + ` █+░+ [1-9][0-9.]* MB of [1-9][0-9.]* MB`)
	eventually(t, func() error {
		if text := said(); !line.MatchString(text) {
			return fmt.Errorf("no line about bytes:\n%s", text)
		}
		return nil
	})
	release()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("bosun up ended with %v:\n%s", err, said())
		}
	case <-deadline(t, patience).Done():
		t.Error("bosun up does not end on Ctrl-C")
	}
}

// TestAllPodsTogether holds the limits of the cgroup of all pods, the weight of its burstable class, and the numbers of
// probes (behaviours 206, 207).
func TestAllPodsTogether(t *testing.T) {
	t.Parallel()
	n := quietNode(t, testbed.Options{Images: []string{"busybox"}}, "--system-reserved=memory=256Mi,cpu=100m,pid=100")
	n.start(t)
	kubepods := filepath.Join(n.cgroups, "kubepods")
	limit := readNumber(t, kubepods, "memory/memory.limit_in_bytes", "memory.max")
	eventually(t, func() error {
		if got := limit(); got == "" || got == "max" || strings.HasPrefix(got, "92233720") {
			return fmt.Errorf("all pods may use %q bytes", got)
		}
		return nil
	})
	weight := readNumber(t, filepath.Join(kubepods, "burstable"), "cpu/cpu.shares", "cpu.weight")
	idle := weight()
	b := n.pod(t, "burst", `spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: app, image: SHELL, command: [sleep, '1000'], resources: {requests: {cpu: 500m}}, readinessProbe: {exec: {command: ['true']}, periodSeconds: 1}}
`)
	b.untilRunning("app")
	eventually(t, func() error {
		if got := weight(); got != "512" && got != "20" {
			return fmt.Errorf("the weight of burstable pods is %s", got)
		}
		return n.numbers("/metrics/probes", fmt.Sprintf(`prober_probe_duration_seconds_bucket{container="app",namespace="default",pod="%s",probe_type="Readiness",le="+Inf"} 1`, b.full()))
	})
	b.remove()
	b.awaitGone()
	eventually(t, func() error {
		if got := weight(); got != idle {
			return fmt.Errorf("the weight of burstable pods is %s without any, it was %s", got, idle)
		}
		_, text, err := n.get("/metrics/probes")
		if err == nil && strings.Contains(text, "probe_type") {
			err = fmt.Errorf("numbers of probes outlive their pod:\n%s", text)
		}
		return err
	})
	n.untilLogged(t, "NodeAllocatableEnforced")
}

// readNumber returns a reader of a cgroup's file: the first for version 1, the second for version 2.
func readNumber(t *testing.T, cgroup, one, two string) func() string {
	return func() string {
		for _, file := range []string{one, two} {
			if text, err := os.ReadFile(cgroupFile(cgroup, file)); err == nil {
				return strings.TrimSpace(string(text))
			}
		}
		return ""
	}
}
