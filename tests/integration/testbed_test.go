package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/testbed"
)

// A bareCRI speaks to a bed's containerd with nothing between.
type bareCRI struct {
	runtimeapi.RuntimeServiceClient
	bed *testbed.Bed
	t   *testing.T
}

func dialBare(t *testing.T, bed *testbed.Bed) *bareCRI {
	t.Helper()
	conn, err := bed.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &bareCRI{runtimeapi.NewRuntimeServiceClient(conn), bed, t}
}

// pod runs a sandbox named like the test and removes it after the test.
func (c *bareCRI) pod(ctx context.Context) (string, *runtimeapi.PodSandboxConfig) {
	c.t.Helper()
	config := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: "bare", Namespace: "default", Uid: c.t.Name()},
		LogDirectory: c.t.TempDir(),
		DnsConfig:    &runtimeapi.DNSConfig{},
		Linux:        &runtimeapi.LinuxPodSandboxConfig{CgroupParent: c.bed.CgroupParent + "/" + c.t.Name()},
	}
	resp, err := c.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.PodSandboxId, config
}

func (c *bareCRI) start(ctx context.Context, pod string, config *runtimeapi.PodSandboxConfig, image string, command ...string) string {
	c.t.Helper()
	created, err := c.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId:  pod,
		SandboxConfig: config,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "main"},
			Image:    &runtimeapi.ImageSpec{Image: image},
			Command:  command,
			LogPath:  "main.log",
			Linux:    &runtimeapi.LinuxContainerConfig{},
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		c.t.Fatal(err)
	}
	return created.ContainerId
}

// ended waits on the event stream until the container has stopped.
func ended(t *testing.T, events runtimeapi.RuntimeService_GetContainerEventsClient, container string) {
	t.Helper()
	for {
		e, err := events.Recv()
		if err != nil {
			t.Fatalf("waiting for the end of %s: %v", container, err)
		}
		if e.ContainerId == container && e.ContainerEventType == runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT {
			return
		}
	}
}

func deadline(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestBedRunsAContainer(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, time.Minute)
	bed := testbed.Start(t, testbed.Options{Images: []string{"busybox"}})
	cri := dialBare(t, bed)
	events, err := cri.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	pod, config := cri.pod(ctx)
	container := cri.start(ctx, pod, config, "busybox", "sh", "-c", "echo hello from the pod; ip -4 -o addr show eth0")
	ended(t, events, container)

	log, err := os.ReadFile(filepath.Join(config.LogDirectory, "main.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"stdout F hello from the pod", strings.TrimSuffix(bed.Gateway, "1")} {
		if !strings.Contains(string(log), want) {
			t.Errorf("no %q in the log:\n%s", want, log)
		}
	}
	if err := bed.Stop(); err != nil {
		t.Error(err)
	}
	if left := traces(t, bed.Dir); left != "" {
		t.Errorf("left after Stop:\n%s", left)
	}
}

func TestBedServesNginx(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, time.Minute)
	bed := testbed.Start(t, testbed.Options{Images: []string{"nginx"}})
	cri := dialBare(t, bed)
	pod, config := cri.pod(ctx)
	cri.start(ctx, pod, config, "nginx")
	status, err := cri.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: pod})
	if err != nil {
		t.Fatal(err)
	}
	body := fetch(ctx, t, "http://"+status.Status.Network.Ip)
	if !strings.Contains(body, "Welcome to nginx!") {
		t.Errorf("nginx answers %q", body)
	}
}

// fetch asks until something answers: nginx listens a moment after its start.
func fetch(ctx context.Context, t *testing.T, url string) string {
	t.Helper()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if errors.Is(err, syscall.ECONNREFUSED) {
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
}

func TestBedContainersOutliveContainerd(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, time.Minute)
	bed := testbed.Start(t, testbed.Options{Images: []string{"busybox"}})
	cri := dialBare(t, bed)
	pod, config := cri.pod(ctx)
	container := cri.start(ctx, pod, config, "busybox", "sleep", "1000")

	if err := bed.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := cri.Version(ctx, &runtimeapi.VersionRequest{}); err == nil {
		t.Error("containerd answers after Kill")
	}
	if err := bed.Restart(); err != nil {
		t.Fatal(err)
	}
	cri = dialBare(t, bed)
	status, err := cri.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: container})
	if err != nil {
		t.Fatal(err)
	}
	if status.Status.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("after containerd's restart the container is %v", status.Status.State)
	}

	if err := bed.Pause(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := cri.Version(short, &runtimeapi.VersionRequest{}); err == nil {
		t.Error("containerd answers while paused")
	}
	if err := bed.Resume(); err != nil {
		t.Fatal(err)
	}
	if _, err := cri.Version(ctx, &runtimeapi.VersionRequest{}); err != nil {
		t.Error(err)
	}
}

// holdVariable makes TestHoldBed, in a second test binary, print its bed's directory and wait to be killed.
const holdVariable = "BOSUN_TEST_HOLD"

func TestHoldBed(t *testing.T) {
	if os.Getenv(holdVariable) == "" {
		return // a part of TestNothingOutlivesAKilledRun
	}
	ctx := deadline(t, time.Minute)
	bed := testbed.Start(t, testbed.Options{Images: []string{"busybox"}})
	cri := dialBare(t, bed)
	pod, config := cri.pod(ctx)
	cri.start(ctx, pod, config, "busybox", "sleep", "1000")
	fmt.Println("holding", bed.Dir)
	<-ctx.Done()
}

func TestNothingOutlivesAKilledRun(t *testing.T) {
	testbed.RequireRoot(t)
	// Each process is a child of the one before. When the supervisor itself is killed, the next run cleans up.
	for i, victim := range []string{"outer", "supervisor", "init", "inner"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			tmp, err := os.MkdirTemp("/run", "held") // short: sockets lie below
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(tmp) })
			run, dir := hold(t, tmp)
			pids := []int{run.Process.Pid}
			for range 3 {
				pids = append(pids, onlyChild(t, pids[len(pids)-1]))
			}
			if traces(t, dir) == "" {
				t.Fatal("a held run leaves no traces: this test sees nothing")
			}
			supervisor, namespaces := pidfd(t, pids[1]), pidfd(t, pids[2])
			if err := unix.Kill(pids[i], unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = run.Wait() // with the victim's code
			awaitEnd(t, supervisor)
			awaitEnd(t, namespaces)
			if victim == "supervisor" {
				next := exec.Command("/proc/self/exe", "-test.run", "^$")
				next.Env = freshEnv(tmp)
				if out, err := next.CombinedOutput(); err != nil {
					t.Fatalf("next run: %v: %s", err, out)
				}
			}
			if left := traces(t, filepath.Dir(dir)); left != "" {
				t.Errorf("left after SIGKILL of %s:\n%s", victim, left)
			}
		})
	}
}

// hold starts a run that holds a bed with a running pod, and returns the bed's directory.
func hold(t *testing.T, tmp string) (*exec.Cmd, string) {
	t.Helper()
	run := exec.Command("/proc/self/exe", "-test.run", "^TestHoldBed$")
	run.Env = append(freshEnv(tmp), holdVariable+"=1")
	run.Stderr = os.Stderr
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Process.Kill() }) // it is dead already when the test passes
	said := bufio.NewScanner(out)
	for said.Scan() {
		if dir, ok := strings.CutPrefix(said.Text(), "holding "); ok {
			return run, dir
		}
		t.Log(said.Text())
	}
	t.Fatal("the held run ended early")
	return nil, ""
}

// freshEnv is the environment of a run that is not part of this one.
func freshEnv(tmp string) []string {
	env := []string{"TMPDIR=" + tmp}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "BOSUN_TESTBED_") && !strings.HasPrefix(v, "TMPDIR=") {
			env = append(env, v)
		}
	}
	return env
}

func onlyChild(t *testing.T, pid int) int {
	t.Helper()
	var children []string
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, strings.Fields(string(data))...)
	}
	if len(children) == 0 {
		t.Fatalf("process %d has no child", pid)
	}
	child, err := strconv.Atoi(children[0])
	if err != nil {
		t.Fatal(err)
	}
	return child
}

func pidfd(t *testing.T, pid int) int {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func awaitEnd(t *testing.T, pidfd int) {
	t.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 60_000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			t.Fatalf("the run does not end: %v", err)
		}
		return
	}
}

// traces lists the processes, mounts, cgroups and files that belong to a directory of the test bed.
func traces(t *testing.T, dir string) string {
	t.Helper()
	var found []string
	cmdlines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range cmdlines {
		// A process that has ended meanwhile cannot be read.
		if cmdline, err := os.ReadFile(path); err == nil && strings.Contains(string(cmdline), dir) {
			found = append(found, path+": "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, dir) {
			found = append(found, "mount "+line)
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/" + filepath.Base(dir), "/sys/fs/cgroup/*/" + filepath.Base(dir), dir} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, paths...)
	}
	return strings.Join(found, "\n")
}
