package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/testbed"
)

// get asks the agent's read-only server; the body is returned with a status other than 200, too.
func (n *node) get(path string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", n.readOnly, path), nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// api is the pod as /pods shows it, nil if it does not.
func (b *box) api() (*v1.Pod, error) {
	code, body, err := b.get("/pods")
	if err != nil || code != http.StatusOK {
		return nil, fmt.Errorf("/pods: %d %w", code, err)
	}
	var list v1.PodList
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		return nil, err
	}
	for i := range list.Items {
		if list.Items[i].Name == b.full() {
			return &list.Items[i], nil
		}
	}
	return nil, nil
}

// untilAPI waits until /pods shows the pod as wanted.
func (b *box) untilAPI(what string, wanted func(*v1.Pod) bool) *v1.Pod {
	b.t.Helper()
	var p *v1.Pod
	eventually(b.t, func() error {
		var err error
		if p, err = b.api(); err != nil {
			return err
		}
		if p == nil || !wanted(p) {
			text, _ := json.Marshal(p.DeepCopy()) // only to say more
			return fmt.Errorf("/pods does not show pod %s %s: %s", b.name, what, text)
		}
		return nil
	})
	return p
}

// untilWaits waits until a container is waiting for this reason, and returns the message.
func (b *box) untilWaits(container, reason string) string {
	b.t.Helper()
	var message string
	b.untilAPI("with container "+container+" waiting for "+reason, func(p *v1.Pod) bool {
		c := statusOf(p, container)
		if c == nil || c.State.Waiting == nil || c.State.Waiting.Reason != reason {
			return false
		}
		message = c.State.Waiting.Message
		return true
	})
	return message
}

func statusOf(p *v1.Pod, container string) *v1.ContainerStatus {
	for _, list := range [][]v1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range list {
			if list[i].Name == container {
				return &list[i]
			}
		}
	}
	return nil
}

func condition(p *v1.Pod, kind v1.PodConditionType) v1.ConditionStatus {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

// A running pod in the API's words (behaviours 9, 10, 55, 165, 353).
func TestStatusOfRunningPod(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	b := n.pod(t, "statusrun", `
spec:
  initContainers: [{name: init, image: BOX, args: [say, hello]}]
  containers: [{name: main, image: BOX}]
`)
	main := b.untilRunning("main")
	p := b.untilAPI("Running and Ready", func(p *v1.Pod) bool {
		return p.Status.Phase == v1.PodRunning && condition(p, v1.PodReady) == v1.ConditionTrue
	})
	s := b.sandbox()
	same(t, "uid", string(p.UID), s.Metadata.Uid)
	same(t, "node", p.Spec.NodeName, nodeName)
	same(t, "pod IP", p.Status.PodIP, s.Network.Ip)
	same(t, "host IP", p.Status.HostIP, nodeIP)
	same(t, "QoS class", p.Status.QOSClass, v1.PodQOSBestEffort)
	for _, kind := range []v1.PodConditionType{v1.PodInitialized, v1.ContainersReady, v1.PodScheduled, v1.PodReadyToStartContainers} {
		same(t, string(kind), condition(p, kind), v1.ConditionTrue)
	}
	c := statusOf(p, "main")
	if c == nil || c.State.Running == nil || !c.Ready || c.Started == nil || !*c.Started || c.RestartCount != 0 || c.ContainerID != "containerd://"+main.Id {
		t.Errorf("status of container main: %+v", c)
	}
	if i := statusOf(p, "init"); i == nil || i.State.Terminated == nil || i.State.Terminated.Reason != "Completed" {
		t.Errorf("status of container init: %+v", i)
	}
}

// Why containers wait, in the words that people match on (behaviours 64, 65, 92, 139, 153, 156).
func TestWaitingReasons(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	registry := n.bed.StartRegistry(t, nil)
	b := n.pod(t, "waiting", `
spec:
  containers:
  - {name: never, image: "`+registry.Host+`/a/b:v1", imagePullPolicy: Never}
  - {name: missing, image: "`+registry.Host+`/a/b:v1"}
  - {name: root, image: BOX, securityContext: {runAsNonRoot: true}}
  - {name: noentry, image: BOX, command: [/no/such/program]}
  - {name: crash, image: BOX, args: [exit, "1"]}
`)
	for container, test := range map[string][2]string{
		"never":   {"ErrImageNeverPull", "is not present with pull policy of Never"},
		"missing": {"ImagePullBackOff", "Back-off pulling image"},
		"root":    {"CreateContainerConfigError", "container has runAsNonRoot and image will run as root"},
		"crash":   {"CrashLoopBackOff", "back-off 10s restarting failed container=crash pod=waiting-here_default("},
	} {
		if got := b.untilWaits(container, test[0]); !strings.Contains(got, test[1]) {
			t.Errorf("container %s: the message is %q, want %q in it", container, got, test[1])
		}
	}
	b.untilAPI("Pending", func(p *v1.Pod) bool {
		return p.Status.Phase == v1.PodPending && condition(p, v1.PodReady) == v1.ConditionFalse
	})
	eventually(t, func() error {
		p, err := b.api()
		if err != nil || p == nil {
			return fmt.Errorf("no pod: %w", err)
		}
		if text, _ := json.Marshal(statusOf(p, "noentry")); !bytes.Contains(text, []byte("/no/such/program")) {
			return fmt.Errorf("the status of noentry does not name the program: %s", text)
		}
		return nil
	})
}

// The last phases, and the deadline of a pod (behaviours 110, 147, 149).
func TestFinalPhases(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	well := n.pod(t, "succeeds", "spec: {restartPolicy: Never, containers: [{name: main, image: BOX, args: [exit, \"0\"]}]}")
	bad := n.pod(t, "fails", "spec: {restartPolicy: Never, containers: [{name: main, image: BOX, args: [exit, \"7\"]}, {name: other, image: BOX, args: [exit, \"0\"]}]}")
	late := n.pod(t, "overdue", "spec: {activeDeadlineSeconds: 2, terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}")
	well.untilAPI("Succeeded", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodSucceeded })
	p := bad.untilAPI("Failed", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
	if c := statusOf(p, "main"); c.State.Terminated == nil || c.State.Terminated.ExitCode != 7 || c.State.Terminated.Reason != "Error" {
		t.Errorf("status of container main: %+v", c)
	}
	p = late.untilAPI("Failed", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
	same(t, "reason", p.Status.Reason, "DeadlineExceeded")
	same(t, "message", p.Status.Message, "Pod was active on the node longer than the specified deadline")
}

// What containers leave behind when they end (behaviours 82, 83).
func TestTerminationMessages(t *testing.T) {
	t.Parallel()
	b := sharedNode(t).pod(t, "messages", `
spec:
  restartPolicy: Never
  containers:
  - {name: file, image: BOX, args: [write, /dev/termination-log, from the file, then, exit, "1"]}
  - {name: path, image: BOX, terminationMessagePath: /tmp/end, args: [write, /tmp/end, from the other file]}
  - {name: logs, image: BOX, terminationMessagePolicy: FallbackToLogsOnError, args: [say, one, then, say, two, then, exit, "1"]}
  - {name: quiet, image: BOX, terminationMessagePolicy: FallbackToLogsOnError, args: [say, nothing went wrong]}
`)
	p := b.untilAPI("Failed", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
	for container, want := range map[string]string{"file": "from the file", "path": "from the other file", "logs": "one\ntwo\n", "quiet": ""} {
		c := statusOf(p, container)
		if c.State.Terminated == nil {
			t.Errorf("container %s has not ended", container)
			continue
		}
		same(t, "message of container "+container, c.State.Terminated.Message, want)
	}
}

// Counts and the last state survive restarts of the container and of the agent (behaviours 24, 61, 355).
func TestStatusAfterRestarts(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{})
	b := n.pod(t, "counting", "spec: {containers: [{name: main, image: BOX, args: [write, /dev/termination-log, bye, then, exit, \"3\"]}]}")
	b.untilWaits("main", "CrashLoopBackOff")
	before, err := b.api()
	if err != nil {
		t.Fatal(err)
	}
	n.restart(t)
	after := b.untilAPI("as before", func(p *v1.Pod) bool {
		c := statusOf(p, "main")
		return c != nil && c.State.Waiting != nil && c.State.Waiting.Reason == "CrashLoopBackOff" &&
			c.LastTerminationState.Terminated != nil && c.LastTerminationState.Terminated.Message != "" // which is read anew
	})
	is, was := statusOf(after, "main"), statusOf(before, "main")
	same(t, "restart count", is.RestartCount, was.RestartCount)
	same(t, "last container", is.LastTerminationState.Terminated.ContainerID, was.LastTerminationState.Terminated.ContainerID)
	same(t, "last message", is.LastTerminationState.Terminated.Message, "bye")
	same(t, "last exit code", is.LastTerminationState.Terminated.ExitCode, int32(3))
	if !after.Status.StartTime.Equal(before.Status.StartTime) {
		t.Errorf("start time %v, before the restart %v", after.Status.StartTime, before.Status.StartTime)
	}
}

// Probes: not ready until the readiness probe says so, restarted when the liveness probe fails, a startup probe holds
// both back (behaviours 117, 118, 120-124).
func TestProbes(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	b := n.pod(t, "probed", `
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: docker.io/bosun/testbox:latest
    imagePullPolicy: IfNotPresent
    args: [http, ":8080"]
    startupProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, failureThreshold: 30}
    readinessProbe: {exec: {command: [/testbox, stat, /tmp/ready]}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {httpGet: {path: /alive, port: 8080}, periodSeconds: 1, failureThreshold: 2}
`)
	first := b.untilRunning("main")
	started := func(p *v1.Pod) *v1.ContainerStatus {
		if c := statusOf(p, "main"); c != nil && c.Started != nil && *c.Started {
			return c
		}
		return nil
	}
	b.untilAPI("started, not ready", func(p *v1.Pod) bool {
		return started(p) != nil && !started(p).Ready && condition(p, v1.PodReady) == v1.ConditionFalse
	})
	b.untilSays("main", "GET /alive", "kube-probe/1.37")
	n.execIn(t, b, "main", "/testbox", "write", "/tmp/ready", "yes")
	b.untilAPI("ready", func(p *v1.Pod) bool {
		return started(p) != nil && started(p).Ready && condition(p, v1.PodReady) == v1.ConditionTrue
	})
	n.untilLogged(t, "probed-here", "Readiness probe failed", "Unhealthy")
	fetch(deadline(t, patience), t, "http://"+b.sandbox().Network.Ip+":8080/fail")
	b.until("main", "restarted", renewed(first))
	n.untilLogged(t, "probed-here", "Liveness probe failed: HTTP probe failed with statuscode: 500", "Unhealthy")
	n.untilLogged(t, "probed-here", "Container main failed liveness probe, will be restarted", "Killing")
	b.untilAPI("not ready after the restart", func(p *v1.Pod) bool {
		c := statusOf(p, "main")
		return c != nil && c.RestartCount == 1 && !c.Ready && c.State.Running != nil
	})
}

// bosun runs one of the agent's own commands and returns what it prints.
func (n *node) bosun(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, append(args[:1:1], append([]string{"--root-dir=" + n.root}, args[1:]...)...)...).CombinedOutput()
	return string(out), err
}

// execIn runs a command in a container with `bosun exec`.
func (n *node) execIn(t *testing.T, b *box, container string, command ...string) string {
	t.Helper()
	out, err := n.bosun(t, append([]string{"exec", "-c", container, b.full(), "--"}, command...)...)
	if err != nil {
		t.Fatalf("bosun exec: %v: %s", err, out)
	}
	return out
}

// The commands a person on the node needs (issue: see it).
func TestCommands(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	b := n.pod(t, "seen", "spec: {containers: [{name: main, image: BOX, args: [say, hello, then, say, again, then, wait]}]}")
	stuck := n.pod(t, "stuck", "spec: {containers: [{name: main, image: \"127.0.0.1:1/no/registry:v1\"}]}")
	b.untilSays("main", "again\n")
	stuck.untilWaits("main", "ImagePullBackOff")
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"get", "pods"}, []string{"seen-here", "Running", "stuck-here", "ImagePullBackOff"}},
		{[]string{"logs", "seen-here"}, []string{"hello\nagain\n"}},
		{[]string{"logs", "--tail=1", "-c", "main", "seen-here"}, []string{"again\n"}},
		{[]string{"explain"}, []string{"seen-here", "stuck-here"}},
		{[]string{"explain", "seen-here"}, []string{"Running", "main"}},
		{[]string{"explain", "stuck-here"}, []string{"getting the image of container main", "connection refused", "127.0.0.1:1/no/registry:v1"}},
	} {
		out, err := n.bosun(t, test.args...)
		if err != nil {
			t.Errorf("bosun %s: %v: %s", strings.Join(test.args, " "), err, out)
		}
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("bosun %s does not say %q but:\n%s", strings.Join(test.args, " "), want, out)
			}
		}
	}
	if out := n.execIn(t, b, "main", "/testbox", "say", "from within"); out != "from within\n" {
		t.Errorf("bosun exec prints %q", out)
	}
	if out, err := n.bosun(t, "exec", "seen-here", "--", "/testbox", "exit", "42"); err == nil || err.Error() != "exit status 42" {
		t.Errorf("bosun exec of a command that ends with 42: %v: %s", err, out)
	}
}

// A bad manifest is in `bosun explain`, too (issue: sources).
func TestExplainTellsOfBadManifests(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	b := n.manifest(t, "explained", "apiVersion: v1\nkind: Pod\nmetadata: {name: explained}\nspec: {restartpolicy: Never, containers: [{name: main, image: BOX}]}\n")
	eventually(t, func() error {
		out, err := n.bosun(t, "explain")
		if err != nil || !hasAll(out, []string{b.file, "spec.restartpolicy"}) {
			return fmt.Errorf("bosun explain: %v: %s", err, out)
		}
		return nil
	})
}

// What the servers answer (issue: see it; spec/http.md).
func TestServers(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	b := n.pod(t, "served", "spec: {containers: [{name: main, image: BOX, args: [say, hello, then, wait]}]}")
	b.untilSays("main", "hello\n")
	for path, want := range map[string]string{
		"/healthz":      "ok",
		"/spec/":        `"num_cores"`,
		"/runningpods/": `"served-here"`,
		"/metrics":      "kubelet_running_pods",
		"/containerLogs/default/served-here/main": "hello\n",
		"/debug/pods/default/served-here":         `"Running"`,
	} {
		eventually(t, func() error {
			code, body, err := n.get(path)
			if err != nil || code != http.StatusOK || !strings.Contains(body, want) {
				return fmt.Errorf("%s: %d %v, want %q in:\n%.2000s", path, code, err, want, body)
			}
			return nil
		})
	}
	resp := fetch(deadline(t, patience), t, fmt.Sprintf("http://127.0.0.1:%d/healthz", n.healthz))
	same(t, "health", resp, "ok")
}

// A port that another process has is told of by name; the pods do not care; once it is free the server is there
// (issue: bad days).
func TestPortTaken(t *testing.T) {
	t.Parallel()
	n := quietNode(t, testbed.Options{})
	other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n.readOnly))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	n.start(t)
	n.untilLogged(t, "cannot listen", fmt.Sprintf(":%d", n.readOnly), "address already in use")
	n.awake(t, "unharmed")
	began := time.Now()
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		code, _, err := n.get("/healthz")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("/healthz: %d", code)
		}
		return err
	})
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the server came %v after the port was free", took)
	}
}

// A container whose liveness probe fails gets the probe's own grace, not the pod's (behaviours 121, 122).
func TestLivenessGrace(t *testing.T) { // not in parallel: it measures time
	n := sharedNode(t)
	b := n.pod(t, "lifeless", `
spec:
  terminationGracePeriodSeconds: 10
  containers:
  - {name: main, image: BOX, args: [ignore-term], livenessProbe: {exec: {command: [/testbox, exit, "1"]}, periodSeconds: 1, failureThreshold: 1, initialDelaySeconds: 1, terminationGracePeriodSeconds: 3}}
`)
	first := b.untilRunning("main")
	decided := n.loggedAt(t, "Container main failed liveness probe, will be restarted", "lifeless-here")
	c := b.lastOf(first.Id)
	same(t, "exit code", c.ExitCode, int32(137))
	if took := time.Unix(0, c.FinishedAt).Sub(decided); took < 2*time.Second || took > 5*time.Second {
		t.Errorf("the container was killed after %v, want 3s", took)
	}
	b.until("main", "restarted", renewed(first))
	b.write(n.text("lifeless", "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}")) // to end soon
}
