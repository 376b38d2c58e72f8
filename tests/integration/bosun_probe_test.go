package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/testbed"
)

// Healthy pods live through a machine that has no time: all its processors are busy with others, twice over, while each pod is
// asked each second by a command, HTTP or TCP and has a second to answer (issue: health). 12 pods for 8 s; with
// BOSUN_TEST_LONG 100 pods for 30 s.
func TestHealthyPodsUnderStress(t *testing.T) { // not in parallel: nobody else would get anything done
	pods, lasting := 12, 8*time.Second
	if long() {
		pods, lasting = 100, 30*time.Second
	}
	n := ownNode(t, testbed.Options{})
	handlers := []string{"exec: {command: [/testbox, stat, /]}", "httpGet: {port: 8080}", "tcpSocket: {port: 8080}"}
	n.many(t, "healthy", pods, func(i int) string {
		return fmt.Sprintf(`
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: BOX, args: [http, ":8080"], livenessProbe: {%s, periodSeconds: 1, timeoutSeconds: 1}, readinessProbe: {%s, periodSeconds: 1, timeoutSeconds: 1}}]
`, handlers[i%3], handlers[(i+1)%3])
	})
	before := n.probes(t)
	calm := busy(t, 2*runtime.NumCPU())
	select {
	case <-time.After(lasting):
	case <-t.Context().Done():
	}
	calm()
	after := n.probes(t)
	for _, p := range n.pods(t) {
		if s := statusOf(&p, "main"); s == nil || s.RestartCount > 0 {
			t.Errorf("pod %s was restarted: %+v", p.Name, s)
		}
	}
	t.Logf("%d pods for %v: %v answers were good, %v bad, %v bad ones forgiven because the agent was late", pods, lasting,
		after["successful"]-before["successful"], after["failed"]-before["failed"], after["forgiven"]-before["forgiven"])
	if after["successful"] <= before["successful"] {
		t.Error("nobody was asked")
	}
}

// The agent's own share of a command that is run as a probe is small: 100 pods with one each 10 s cost less than 1 % of a
// processor (issue: health). 10 pods with one each second are as many commands; with BOSUN_TEST_LONG it is 100 pods.
func TestExecProbesAreCheap(t *testing.T) {
	pods, period, lasting, most := 10, 1, 10*time.Second, 0.02 // beside other tests everything costs more
	if long() {
		pods, period, lasting, most = 100, 10, time.Minute, 0.01
	} else {
		t.Parallel()
	}
	n := ownNode(t, testbed.Options{Images: []string{"busybox"}})
	n.many(t, "asked", pods, func(int) string {
		return fmt.Sprintf(`
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: SHELL, command: [sh, -c, 'trap exit TERM; sleep 3600 & wait'], livenessProbe: {exec: {command: ["true"]}, periodSeconds: %d}}]
`, period)
	})
	before, used := n.probes(t), n.processorTime(t)
	select {
	case <-time.After(lasting):
	case <-t.Context().Done():
	}
	used = n.processorTime(t) - used
	asked := n.probes(t)["successful"] - before["successful"]
	share := 10 * used.Seconds() / asked // of ten commands a second, were the machine busy with others or not
	t.Logf("%d pods with a command each %d s: %.0f commands in %v; ten a second cost the agent %.2f %% of a processor", pods, period, asked, lasting, 100*share)
	if asked < 20 || share > most {
		t.Errorf("%.0f commands were run, and ten a second cost the agent %.2f %% of a processor, want less than %.0f %%", asked, 100*share, 100*most)
	}
}

// many makes pods that go with the test's bed, and waits until all are ready.
func (n *node) many(t *testing.T, name string, count int, spec func(int) string) {
	t.Helper()
	for i := range count {
		file := fmt.Sprintf("%s/%s-%d.yaml", n.manifests, name, i)
		if err := os.WriteFile(file, []byte(expand.Replace(n.text(fmt.Sprint(name, "-", i), spec(i)))), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	within(t, patience+time.Duration(count)*3*time.Second, func() error {
		ready := 0
		for _, p := range n.pods(t) {
			if isReady(&p) {
				ready++
			}
		}
		if ready < count {
			return fmt.Errorf("%d of %d pods are ready", ready, count)
		}
		return nil
	})
	t.Logf("%d pods were ready after %v", count, time.Since(began).Round(time.Millisecond))
}

// pods are the agent's pods.
func (n *node) pods(t *testing.T) []v1.Pod {
	t.Helper()
	var list v1.PodList
	text := fetch(deadline(t, patience), t, fmt.Sprintf("http://127.0.0.1:%d/pods", n.readOnly))
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v: %.200s", err, text)
	}
	return list.Items
}

var probeSeries = regexp.MustCompile(`(?m)^(?:prober_probe_total\{.*result="(\w+)".*\}|(bosun_probe_failures_forgiven_total)\{.*\}) (\S+)$`)

// probes are the answers so far of all probes together, by result, and what was forgiven.
func (n *node) probes(t *testing.T) map[string]float64 {
	t.Helper()
	sums := map[string]float64{}
	text := fetch(deadline(t, patience), t, fmt.Sprintf("http://127.0.0.1:%d/metrics/probes", n.readOnly))
	for _, match := range probeSeries.FindAllStringSubmatch(text, -1) {
		value, err := strconv.ParseFloat(match[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		what := match[1]
		if match[2] != "" {
			what = "forgiven"
		}
		sums[what] += value
	}
	return sums
}

// processorTime is what the agent has used so far.
func (n *node) processorTime(t *testing.T) time.Duration {
	t.Helper()
	text := holds(t, fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	ticks := 0
	for _, f := range fields[11:13] { // in user and in system mode, in hundredths of a second
		v, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += v
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// busy keeps so many processes busy with nothing until the result is called.
func busy(t *testing.T, count int) (calm func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	var all []*exec.Cmd
	for range count {
		c := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return func() {
		cancel()
		for _, c := range all {
			_ = c.Wait() // killed
		}
	}
}
