package integration

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/testbed"
)

const (
	// nodeName is what the agents under test are called that are in no cluster; a static pod's name ends in it (behaviour 9).
	nodeName = "here"
	// nodeIP is the address they say they have: a bed has none before its first pod.
	nodeIP = "192.0.2.10"
	// patience bounds what takes a moment on an idle machine and a while on a busy one.
	patience = 60 * time.Second
	// slow is what is worth a line in the test's log.
	slow = 5 * time.Second
	// glance is the pause between two looks at something that has no event.
	glance = 25 * time.Millisecond
)

// binary is the program under test: built once per run, or named by BOSUN_TEST_BINARY. BOSUN_TEST_RACE=1 builds it
// with the race detector.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("BOSUN_TEST_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "bosun")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bosun")
	args := []string{"build", "-tags", "grpcnotrace", "-o", path}
	if os.Getenv("BOSUN_TEST_RACE") != "" {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "../../cmd/bosun")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build bosun: %w: %s", err, out)
	}
	return path, nil
})

// A node is an agent on a bed of its own. One agent per bed: it ends what it does not know.
type node struct {
	bed       *testbed.Bed
	called    string // its name
	manifests string // the directory it reads
	root      string // its state
	podLogs   string
	cgroups   string // its cgroup root
	log       string // what it says
	home      string // $HOME and working directory

	endpoint          string // the socket of CRI; the bed's unless a test puts something between
	healthz, readOnly int
	more              []string // more arguments
	boot              string   // a file with the boot ID that the agent shall find; empty for the machine's own
	env               []string // more environment

	runtime runtimeapi.RuntimeServiceClient
	images  runtimeapi.ImageServiceClient
	history history

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{}
}

var nodes atomic.Int32

// newNode prepares an agent without starting it. name is its directory below the bed's.
func newNode(ctx context.Context, bed *testbed.Bed, more ...string) (*node, error) {
	conn, err := bed.Dial()
	if err != nil {
		return nil, err
	}
	port := 20000 + 10*int(nodes.Add(1))
	n := &node{
		bed:       bed,
		called:    nodeName,
		manifests: filepath.Join(bed.Dir, "manifests"),
		root:      filepath.Join(bed.Dir, "agent"),
		podLogs:   filepath.Join(bed.Dir, "logs"),
		cgroups:   bed.CgroupParent,
		log:       filepath.Join(bed.Dir, "bosun.log"),
		home:      filepath.Join(bed.Dir, "home"),
		endpoint:  bed.Socket,
		healthz:   port,
		readOnly:  port + 1,
		more:      more,
		runtime:   runtimeapi.NewRuntimeServiceClient(conn),
		images:    runtimeapi.NewImageServiceClient(conn),
	}
	for _, dir := range []string{n.manifests, n.home} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	go n.history.follow(ctx, n.runtime)
	config := fmt.Sprintf("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\npodLogsDir: %s\n%s", n.podLogs, testbed.Roomy)
	return n, os.WriteFile(n.configFile(), []byte(config), 0o644)
}

func (n *node) configFile() string { return filepath.Join(n.bed.Dir, "kubelet.yaml") }

// ownNode starts an agent on a bed that ends with the test: for tests that hurt the runtime or the agent.
func ownNode(t *testing.T, options testbed.Options, more ...string) *node {
	t.Helper()
	n := quietNode(t, options, more...)
	n.start(t)
	return n
}

// quietNode is ownNode before the agent starts.
func quietNode(t *testing.T, options testbed.Options, more ...string) *node {
	t.Helper()
	if options.Images == nil {
		options.Images = []string{"testbox"}
	}
	n, err := newNode(t.Context(), testbed.Start(t, options), more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.kill(t)
		n.checkSane(t)
		n.tellOnFailure(t, "")
	})
	return n
}

var sharedAgent = sync.OnceValues(func() (*node, error) {
	bed, err := testbed.Open(testbed.Options{})
	if err != nil {
		return nil, err
	}
	n, err := newNode(context.Background(), bed)
	if err != nil {
		return nil, err
	}
	return n, n.begin()
})

// sharedNode is the agent that most tests have in common. Its bed ends with the run.
func sharedNode(t *testing.T) *node {
	t.Helper()
	testbed.RequireRoot(t)
	n, err := sharedAgent()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// begin starts the agent and does not wait for anything.
func (n *node) begin() error {
	path, err := binary()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	args := append([]string{
		"run",
		"--config=" + n.configFile(),
		"--root-dir=" + n.root,
		"--pod-manifest-path=" + n.manifests,
		"--container-runtime-endpoint=unix://" + n.endpoint,
		"--cgroup-root=" + n.cgroups,
		"--fail-swap-on=false",
		"--fail-cgroupv1=false",
		"--healthz-port=" + strconv.Itoa(n.healthz),
		"--read-only-port=" + strconv.Itoa(n.readOnly),
		"--hostname-override=" + nodeName,
		"--node-ip=" + nodeIP,
		"--v=4", // what is told in events is in the log then, however small
	}, n.more...)
	if n.boot != "" { // in mounts of its own, that are the machine's but for this file
		const dress = `mount --make-private /proc && mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"`
		path, args = "unshare", append([]string{"--mount", "--propagation", "unchanged", "sh", "-c", dress, n.boot, path}, args...)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(append(os.Environ(), "HOME="+n.home), n.env...)
	cmd.Dir = n.home
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd, n.ended = cmd, ended
	return nil
}

func (n *node) start(t *testing.T) {
	t.Helper()
	if err := n.begin(); err != nil {
		t.Fatal(err)
	}
}

// kill ends the agent with SIGKILL, if it runs.
func (n *node) kill(t *testing.T) {
	t.Helper()
	n.end(t, syscall.SIGKILL)
}

func (n *node) end(t *testing.T, s syscall.Signal) {
	t.Helper()
	n.mu.Lock()
	cmd, ended := n.cmd, n.ended
	n.cmd = nil
	n.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(s) // it may have ended by itself
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatalf("the agent did not end on %v", s)
	}
}

// restart kills the agent as a crash does, and starts it again.
func (n *node) restart(t *testing.T) {
	t.Helper()
	n.kill(t)
	n.start(t)
}

// path is a path for a test's own files, below a directory that goes with the bed.
func (n *node) path(t *testing.T, elem ...string) string {
	t.Helper()
	dir := filepath.Join(n.bed.Dir, "own", strings.ReplaceAll(t.Name(), "/", "_"))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(append([]string{dir}, elem...)...)
}

// A box is a pod under test: one manifest of the node's directory.
type box struct {
	*node
	t    *testing.T
	name string // as in the manifest
	file string
}

// pod writes a manifest, given from "spec:" on, and removes it after the test; then the pod must be gone without a trace.
func (n *node) pod(t *testing.T, name, spec string) *box {
	t.Helper()
	return n.manifest(t, name, n.text(name, spec))
}

// text is a manifest, given from "spec:" on.
func (n *node) text(name, spec string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\n" + spec
}

// expand puts in the images, which are on the node already: BOX is testbox, SHELL is busybox.
var expand = strings.NewReplacer(
	"image: BOX", "image: "+testbed.Testbox+", imagePullPolicy: IfNotPresent",
	"image: SHELL", "image: "+testbed.Busybox+", imagePullPolicy: IfNotPresent",
)

// manifest is pod with the whole text.
func (n *node) manifest(t *testing.T, name, text string) *box {
	t.Helper()
	b := &box{node: n, t: t, name: name, file: filepath.Join(n.manifests, name+".yaml")}
	t.Cleanup(func() {
		n.checkSane(t)
		n.tellOnFailure(t, name)
		if n.running() {
			b.remove()
			b.awaitGone()
		}
	})
	b.write(text)
	return b
}

func (n *node) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

func (b *box) write(text string) {
	b.t.Helper()
	if err := os.WriteFile(b.file, []byte(expand.Replace(text)), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) remove() {
	b.t.Helper()
	if err := os.Remove(b.file); err != nil && !errors.Is(err, os.ErrNotExist) {
		b.t.Fatal(err)
	}
}

// full is the pod's name on the node (behaviour 9).
func (b *box) full() string { return b.name + "-" + b.called }

func (b *box) sandboxes() ([]*runtimeapi.PodSandbox, error) { return b.sandboxesOf(b.full()) }
func (b *box) containers() ([]*runtimeapi.Container, error) { return b.containersOf(b.full()) }

// eventually looks until what says nothing is wrong, at most for patience.
func eventually(t *testing.T, what func() error) {
	t.Helper()
	within(t, patience, what)
}

// within is eventually with another patience.
func within(t *testing.T, d time.Duration, what func() error) {
	t.Helper()
	began := time.Now()
	var last error
	for {
		err := what()
		waited := time.Since(began)
		switch {
		case err == nil && waited > slow && last != nil:
			t.Logf("%s: waited %v until this was over: %.500s", time.Now().Format(time.TimeOnly), waited.Round(time.Millisecond), last)
			return
		case err == nil:
			return
		case waited > d:
			t.Fatalf("not within %v: %v", d, err)
		}
		last = err
		<-time.After(glance)
	}
}

// sandboxesOf lists the sandboxes of a pod by its name on the node, newest first.
func (n *node) sandboxesOf(full string) ([]*runtimeapi.PodSandbox, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	filter := &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{names.PodName: full}}
	list, err := n.runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{Filter: filter})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list.Items, func(x, y *runtimeapi.PodSandbox) int { return cmp.Compare(y.CreatedAt, x.CreatedAt) })
	return list.Items, nil
}

// sandbox waits for the pod's ready sandbox.
func (b *box) sandbox() *runtimeapi.PodSandboxStatus {
	b.t.Helper()
	var status *runtimeapi.PodSandboxStatus
	eventually(b.t, func() error {
		found, err := b.sandboxes()
		if err != nil {
			return err
		}
		if len(found) == 0 || found[0].State != runtimeapi.PodSandboxState_SANDBOX_READY {
			return fmt.Errorf("pod %s has no ready sandbox", b.name)
		}
		resp, err := b.runtime.PodSandboxStatus(b.t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: found[0].Id})
		status = resp.GetStatus()
		return err
	})
	return status
}

func (b *box) uid() string {
	b.t.Helper()
	return b.sandbox().Metadata.Uid
}

// containersOf lists the containers of a pod by its name on the node, newest first.
func (n *node) containersOf(full string) ([]*runtimeapi.Container, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	filter := &runtimeapi.ContainerFilter{LabelSelector: map[string]string{names.PodName: full}}
	list, err := n.runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: filter})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list.Containers, func(x, y *runtimeapi.Container) int { return cmp.Compare(y.CreatedAt, x.CreatedAt) })
	return list.Containers, nil
}

// instance is the newest instance of a container, nil if there is none.
func (b *box) instance(name string) (*runtimeapi.ContainerStatus, error) {
	all, err := b.containers()
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if c.Metadata.Name == name {
			resp, err := b.runtime.ContainerStatus(context.Background(), &runtimeapi.ContainerStatusRequest{ContainerId: c.Id})
			return resp.GetStatus(), err
		}
	}
	return nil, nil
}

// until waits until the newest instance of a container is as wanted.
func (b *box) until(container, what string, wanted func(*runtimeapi.ContainerStatus) bool) *runtimeapi.ContainerStatus {
	b.t.Helper()
	var status *runtimeapi.ContainerStatus
	eventually(b.t, func() error {
		var err error
		if status, err = b.instance(container); err != nil {
			return err
		}
		if status == nil || !wanted(status) {
			return fmt.Errorf("container %s of pod %s is not %s: %v", container, b.name, what, status)
		}
		return nil
	})
	return status
}

func (b *box) untilRunning(container string) *runtimeapi.ContainerStatus {
	b.t.Helper()
	return b.until(container, "running", func(c *runtimeapi.ContainerStatus) bool {
		return c.State == runtimeapi.ContainerState_CONTAINER_RUNNING
	})
}

func (b *box) untilExited(container string) *runtimeapi.ContainerStatus {
	b.t.Helper()
	return b.until(container, "exited", func(c *runtimeapi.ContainerStatus) bool {
		return c.State == runtimeapi.ContainerState_CONTAINER_EXITED
	})
}

// untilDone waits for a container that ends by itself, and returns what its first attempt said. It must succeed.
func (b *box) untilDone(container string) string {
	b.t.Helper()
	if c := b.untilExited(container); c.ExitCode != 0 {
		b.t.Errorf("container %s of pod %s ended with %d (%s: %s)", container, b.name, c.ExitCode, c.Reason, c.Message)
	}
	return b.output(container, 0)
}

// renewed tells whether a container runs and is another than the one before.
func renewed(before *runtimeapi.ContainerStatus) func(*runtimeapi.ContainerStatus) bool {
	return func(c *runtimeapi.ContainerStatus) bool {
		return c.Id != before.Id && c.State == runtimeapi.ContainerState_CONTAINER_RUNNING
	}
}

// alone tells what is wrong when the pod has more than one sandbox.
func alone(b *box) error {
	all, err := b.sandboxes()
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("pod %s has %d sandboxes", b.name, len(all))
	}
	return err
}

// output is what an attempt of a container has said so far, both streams, without the marks of the log format.
func (b *box) output(container string, attempt int) string {
	b.t.Helper()
	return b.logOf(b.t, "*_"+b.full()+"_*", container, attempt)
}

// logOf is what an attempt of a container has said so far in the log directories of a pattern.
func (n *node) logOf(t *testing.T, pattern, container string, attempt int) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(n.podLogs, pattern, container, strconv.Itoa(attempt)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for line := range bytes.Lines(data) {
			if fields := bytes.SplitN(line, []byte(" "), 4); len(fields) == 4 {
				text.Write(fields[3])
			}
		}
	}
	return text.String()
}

// untilSays waits until the first attempt of a container has said all of this, and returns all it said.
func (b *box) untilSays(container string, words ...string) string {
	b.t.Helper()
	var said string
	eventually(b.t, func() error {
		said = b.output(container, 0)
		for _, w := range words {
			if !strings.Contains(said, w) {
				return fmt.Errorf("container %s of pod %s has not said %q but:\n%s", container, b.name, w, said)
			}
		}
		return nil
	})
	return said
}

// settled tells what is wrong while a pod that has ended still has something that is not at rest: a ready sandbox, a
// container that runs.
func (b *box) settled() error {
	containers, err := b.containers()
	if err != nil {
		return err
	}
	for _, c := range containers {
		if c.State != runtimeapi.ContainerState_CONTAINER_EXITED {
			return fmt.Errorf("container %s of pod %s is %v", c.Metadata.Name, b.name, c.State)
		}
	}
	sandboxes, err := b.sandboxes()
	if err != nil {
		return err
	}
	for _, s := range sandboxes {
		if s.State == runtimeapi.PodSandboxState_SANDBOX_READY {
			return fmt.Errorf("a sandbox of pod %s is ready", b.name)
		}
	}
	if len(sandboxes) == 0 {
		return fmt.Errorf("pod %s has no sandbox", b.name)
	}
	return nil
}

// lastSeen waits until a container has ended and returns what the runtime's events told of it, also when it is removed
// since.
func (b *box) lastSeen(container string) *runtimeapi.ContainerStatus {
	b.t.Helper()
	var last *runtimeapi.ContainerStatus
	eventually(b.t, func() error {
		for _, e := range b.history.of(b.full()) {
			for _, c := range e.ContainersStatuses {
				if c.Metadata.Name == container && c.State == runtimeapi.ContainerState_CONTAINER_EXITED {
					last = c
				}
			}
		}
		if last == nil {
			return fmt.Errorf("no event told of the end of container %s of pod %s", container, b.name)
		}
		return nil
	})
	return last
}

// A history is what the runtime's event stream has told since the node was made.
type history struct {
	mu     sync.Mutex
	events []*runtimeapi.ContainerEventResponse
}

// follow reads the stream until the context ends, and again when it broke.
func (h *history) follow(ctx context.Context, client runtimeapi.RuntimeServiceClient) {
	for ctx.Err() == nil {
		stream, err := client.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
		for err == nil {
			var e *runtimeapi.ContainerEventResponse
			if e, err = stream.Recv(); err == nil {
				h.mu.Lock()
				h.events = append(h.events, e)
				h.mu.Unlock()
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(glance):
		}
	}
}

// of are the events of one pod, by its name on the node.
func (h *history) of(full string) []*runtimeapi.ContainerEventResponse {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []*runtimeapi.ContainerEventResponse
	for _, e := range h.events {
		if e.GetPodSandboxStatus().GetMetadata().GetName() == full {
			out = append(out, e)
		}
	}
	return out
}

// awaitGone waits until nothing of the pod is left: containers, sandboxes, mounts, cgroups, directories, logs, links.
func (b *box) awaitGone() {
	b.t.Helper()
	eventually(b.t, func() error {
		if left := b.left(); left != "" {
			return fmt.Errorf("left of pod %s: %s", b.name, left)
		}
		return nil
	})
}

// left names what there is of the pod.
func (b *box) left() string { return b.leftOf(b.full()) }

// leftOf names what there is of a pod by its name on the node.
func (n *node) leftOf(full string) string {
	var found []string
	containers, err := n.containersOf(full)
	if err != nil {
		return err.Error()
	}
	for _, c := range containers {
		found = append(found, fmt.Sprintf("container %s#%d %v", c.Metadata.Name, c.Metadata.Attempt, c.State))
	}
	sandboxes, err := n.sandboxesOf(full)
	if err != nil {
		return err.Error()
	}
	for _, s := range sandboxes {
		found = append(found, fmt.Sprintf("sandbox %d %v", s.Metadata.Attempt, s.State))
	}
	for _, pattern := range []string{
		filepath.Join(n.podLogs, "*_"+full+"_*"),
		filepath.Join(names.ContainerLogLinksDir, full+"_*"),
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return err.Error()
		}
		found = append(found, paths...)
	}
	return strings.Join(found, ", ")
}

// remains names the traces of a pod that go by its UID: mounts, cgroups, directories.
func (n *node) remains(uid string) string {
	var found []string
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, uid) {
			found = append(found, "mount "+strings.Fields(line)[4])
		}
	}
	for _, pattern := range []string{
		"/sys/fs/cgroup/*" + n.cgroups + "/kubepods/pod" + uid,
		"/sys/fs/cgroup/*" + n.cgroups + "/kubepods/*/pod" + uid,
		"/sys/fs/cgroup" + n.cgroups + "/kubepods/pod" + uid,
		"/sys/fs/cgroup" + n.cgroups + "/kubepods/*/pod" + uid,
		filepath.Join(n.root, "pods", uid),
	} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return err.Error()
		}
		found = append(found, paths...)
	}
	return strings.Join(found, ", ")
}

// said is the agent's log so far.
func (n *node) said() string {
	data, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// untilLogged waits until one line of the agent's log has all these words.
func (n *node) untilLogged(t *testing.T, words ...string) string {
	t.Helper()
	var found string
	eventually(t, func() error {
		for line := range strings.Lines(n.said()) {
			if hasAll(line, words) {
				found = line
				return nil
			}
		}
		return fmt.Errorf("the agent has not logged %q", words)
	})
	return found
}

// loggedAt is when the agent logged a line with all these words.
func (n *node) loggedAt(t *testing.T, words ...string) time.Time {
	t.Helper()
	text, _, _ := strings.Cut(strings.TrimPrefix(n.untilLogged(t, words...), "time="), " ")
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func hasAll(text string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// checkSane fails the test if the agent's log tells of a defect of its own.
func (n *node) checkSane(t *testing.T) {
	t.Helper()
	for _, sign := range []string{"DATA RACE", "panic:", "a part of the agent ended"} {
		if at := strings.Index(n.said(), sign); at >= 0 {
			t.Errorf("the agent's log has a %q:\n%.4000s", sign, n.said()[at:])
		}
	}
}

// tellOnFailure puts what the agent said of a pod, or all of it, into the log of a failed test.
func (n *node) tellOnFailure(t *testing.T, about string) {
	if !t.Failed() {
		return
	}
	var lines []string
	for line := range strings.Lines(n.said()) {
		if about == "" || strings.Contains(line, about) {
			lines = append(lines, line)
		}
	}
	lines = lines[max(0, len(lines)-60):]
	t.Logf("the agent said of %q:\n%s", about, strings.Join(lines, ""))
}

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func has(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %s is %q, want %q", what, k, got[k], v)
		}
	}
}

// contains checks that text has all these lines, whole.
func contains(t *testing.T, what, text string, lines ...string) {
	t.Helper()
	have := strings.Split(text, "\n")
	for _, l := range lines {
		if !slices.Contains(have, l) {
			t.Errorf("%s has no line %q:\n%s", what, l, text)
		}
	}
}

// holds is the text of a file.
func holds(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// untilHolds waits until a file has exactly this text.
func untilHolds(t *testing.T, path, want string) {
	t.Helper()
	untilMatches(t, path, func(got string) bool { return got == want })
}

func untilMatches(t *testing.T, path string, good func(string) bool) {
	t.Helper()
	eventually(t, func() error {
		if data, err := os.ReadFile(path); err != nil || !good(string(data)) {
			return fmt.Errorf("%s holds %q (%v)", path, data, err)
		}
		return nil
	})
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
}

// before tells whether one text comes before another.
func before(text, one, other string) bool {
	i, j := strings.Index(text, one), strings.Index(text, other)
	return i >= 0 && j >= 0 && i < j
}
