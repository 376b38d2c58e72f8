package integration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/boxruntime"
	"github.com/bosun-project/bosun/internal/testbed"
)

const boxTimeout = 60 * time.Second

// boxConfig is a runtime of the test's own. The binaries and images are those of `make tools images`.
func boxConfig(t *testing.T) boxruntime.Config {
	t.Helper()
	testbed.RequireRoot(t)
	return boxruntime.Config{
		RuntimeDir: cacheDir(t, "bin"),
		Root:       filepath.Join(t.TempDir(), "runtime"),
		Log:        slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}
}

func cacheDir(t *testing.T, name string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", ".cache", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("%v; run `make tools images` first", err)
	}
	return dir
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Helper()
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// startBox starts a runtime and takes it away after the test, whatever the test did to it.
func startBox(ctx context.Context, t *testing.T, c boxruntime.Config) *boxruntime.Box {
	t.Helper()
	t.Cleanup(func() {
		c.Log = nil
		ctx, cancel := context.WithTimeout(context.Background(), boxTimeout)
		defer cancel()
		if err := boxruntime.Purge(ctx, c); err != nil {
			t.Error(err)
		}
	})
	b, err := boxruntime.Start(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// supervise runs Supervise until the returned function is called, which returns its error.
func supervise(ctx context.Context, b *boxruntime.Box) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- b.Supervise(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// awaitHealth returns the first health that satisfies.
func awaitHealth(ctx context.Context, t *testing.T, b *boxruntime.Box, what string, ok func(boxruntime.Health) bool) boxruntime.Health {
	t.Helper()
	for {
		h, newer := b.Health()
		if ok(h) {
			return h
		}
		select {
		case <-newer:
		case <-ctx.Done():
			t.Fatalf("the runtime is not %s: %+v", what, h)
		}
	}
}

// boxPod runs a pod with one busybox container that sleeps, and returns what identifies both.
func boxPod(ctx context.Context, t *testing.T, b *boxruntime.Box, hostPort int32) (client runtimeapi.RuntimeServiceClient, sandbox, container string) {
	t.Helper()
	conn, err := grpc.NewClient(b.Endpoint(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client = runtimeapi.NewRuntimeServiceClient(conn)
	config := &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: "box", Namespace: "default", Uid: t.Name()},
		LogDirectory: t.TempDir(),
		DnsConfig:    &runtimeapi.DNSConfig{},
		PortMappings: []*runtimeapi.PortMapping{{ContainerPort: 80, HostPort: hostPort}},
		Linux:        &runtimeapi.LinuxPodSandboxConfig{CgroupParent: "/box"},
	}
	pod, err := client.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	created, err := client.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: pod.PodSandboxId, SandboxConfig: config,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: "main"},
			Image:    &runtimeapi.ImageSpec{Image: testbed.Busybox},
			Command:  []string{"sleep", "3600"},
			LogPath:  "main.log",
			Linux:    &runtimeapi.LinuxContainerConfig{},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: created.ContainerId}); err != nil {
		t.Fatal(err)
	}
	return client, pod.PodSandboxId, created.ContainerId
}

// stillRuns fails unless the container runs and was never started anew.
func stillRuns(ctx context.Context, t *testing.T, client runtimeapi.RuntimeServiceClient, container string, started int64) int64 {
	t.Helper()
	status, err := client.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: container}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if status.Status.State != runtimeapi.ContainerState_CONTAINER_RUNNING || started != 0 && status.Status.StartedAt != started {
		t.Fatalf("container is %v, started at %d, want running since %d", status.Status.State, status.Status.StartedAt, started)
	}
	return status.Status.StartedAt
}

// TestBoxSupervised: pods outlive a containerd that is killed, Supervise brings it back at once, and Stop leaves nothing.
func TestBoxSupervised(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), boxTimeout)
	defer cancel()
	c := boxConfig(t)
	b := startBox(ctx, t, c)
	if _, err := b.LoadImages(ctx, cacheDir(t, "images")); err != nil {
		t.Fatal(err)
	}
	if a, err := boxruntime.FirstAnswer(ctx, append(boxruntime.Usual(), b.Endpoint())); err != nil || a.Endpoint != b.Endpoint() || a.Name != "containerd" {
		t.Errorf("who answers is %+v, %v; want our own", a, err)
	}
	if lacking, err := boxruntime.NotReady(ctx, b.Endpoint()); err != nil || len(lacking) > 0 {
		t.Errorf("it is not ready: %v, %v", lacking, err)
	}
	stop := supervise(ctx, b)
	client, sandbox, container := boxPod(ctx, t, b, 18080)
	started := stillRuns(ctx, t, client, container, 0)

	before, _ := b.Health()
	if err := unix.Kill(before.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	after := awaitHealth(ctx, t, b, "up again", func(h boxruntime.Health) bool { return h.Up && h.PID != before.PID })
	if after.Restarts != 1 || after.Err == nil || !strings.Contains(after.Err.Error(), "SIGKILL") {
		t.Errorf("health after the restart is %+v, want one restart because of SIGKILL", after)
	}
	stillRuns(ctx, t, client, container, started)

	if rules := natRules(t); !strings.Contains(rules, "18080") {
		t.Errorf("no rule for the host port among\n%s", rules)
	}
	if err := b.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Errorf("Supervise: %v", err)
	}
	nothingLeft(t, c, after.PID, sandbox)
	if _, err := os.Stat(filepath.Join(c.Root, "containerd")); err != nil {
		t.Errorf("Stop removed the images: %v", err)
	}
}

// TestBoxRevived: while containerd cannot be started, health says why, and once it can, it is up without anybody's help.
func TestBoxRevived(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), boxTimeout)
	defer cancel()
	c := boxConfig(t)
	built := c.RuntimeDir
	c.RuntimeDir = t.TempDir()
	names := append(boxruntime.Programs(), boxruntime.NetworkPlugins()...)
	for _, name := range names {
		if err := os.Symlink(filepath.Join(built, name), filepath.Join(c.RuntimeDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	b := startBox(ctx, t, c)
	stop := supervise(ctx, b)
	program := filepath.Join(c.RuntimeDir, "containerd")
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	before, _ := b.Health()
	if err := unix.Kill(before.PID, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	down := awaitHealth(ctx, t, b, "down", func(h boxruntime.Health) bool {
		return !h.Up && h.Err != nil && strings.Contains(h.Err.Error(), program)
	})
	if down.Since.Before(before.Since) {
		t.Errorf("down since %s, which is before it was up, %s", down.Since, before.Since)
	}
	if err := os.Symlink(filepath.Join(built, "containerd"), program); err != nil {
		t.Fatal(err)
	}
	awaitHealth(ctx, t, b, "up again", func(h boxruntime.Health) bool { return h.Up && h.Restarts == 1 })
	if err := b.Purge(ctx); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Errorf("Supervise: %v", err)
	}
	if h, _ := b.Health(); h.Up {
		t.Errorf("health after Purge is %+v", h)
	}
}

// TestBoxStopByForce: with containerd dead and pods running, Purge still removes processes, mounts, rules and the bridge.
func TestBoxStopByForce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), boxTimeout)
	defer cancel()
	c := boxConfig(t)
	b := startBox(ctx, t, c)
	if _, err := b.LoadImages(ctx, cacheDir(t, "images")); err != nil {
		t.Fatal(err)
	}
	_, sandbox, _ := boxPod(ctx, t, b, 18081)
	h, _ := b.Health()
	if err := unix.Kill(h.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := boxruntime.Purge(ctx, c); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, c, h.PID, sandbox)
	if rules := natRules(t); strings.Contains(rules, "CNI-HOSTPORT") {
		t.Errorf("host port chains are left:\n%s", rules)
	}
	if _, err := os.Stat(c.Root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", c.Root, err)
	}
}

// nothingLeft fails if anything of the runtime is still there.
func nothingLeft(t *testing.T, c boxruntime.Config, pid int, sandbox string) {
	t.Helper()
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("containerd %d: %v", pid, err)
	}
	out, err := exec.Command("pgrep", "-af", sandbox).Output()
	if err == nil {
		t.Errorf("processes are left:\n%s", out)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte(c.Root)) // names the runtime's own directory below /run
	run := "/run/bosun/" + hex.EncodeToString(hash[:4])
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, c.Root) || strings.Contains(line, run) {
			t.Errorf("mount is left: %s", line)
		}
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if strings.HasPrefix(link.Name, "bosun-") {
			t.Errorf("interface %s is left", link.Name)
		}
	}
	if rules := natRules(t); strings.Contains(rules, "bosun-") {
		t.Errorf("iptables rules are left:\n%s", rules)
	}
	if notes, _ := filepath.Glob("/var/lib/cni/results/bosun-*"); len(notes) > 0 {
		t.Errorf("notes of the network are left: %v", notes)
	}
}

func natRules(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("iptables-save").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestBoxKept: a Bosun that ends leaves containerd and pods alone; the next one takes them over, supervises them although
// they are not its children, and restarts containerd when the configuration changed.
func TestBoxKept(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), boxTimeout)
	defer cancel()
	if root := os.Getenv("BOSUN_TEST_BOX_ROOT"); root != "" { // the Bosun that ends
		c := boxConfig(t)
		c.Root = root
		if _, err := boxruntime.Start(ctx, c); err != nil {
			t.Fatal(err)
		}
		return
	}
	c := boxConfig(t)
	t.Cleanup(func() {
		if err := boxruntime.Purge(context.Background(), c); err != nil {
			t.Error(err)
		}
	})
	first := exec.CommandContext(ctx, "/proc/self/exe", "-test.run=^TestBoxKept$", "-test.v")
	first.Env = append(os.Environ(), "BOSUN_TEST_BOX_ROOT="+c.Root)
	if out, err := first.CombinedOutput(); err != nil {
		t.Fatalf("the first Bosun: %v\n%s", err, out)
	}

	b := startBox(ctx, t, c)
	kept, _ := b.Health()
	if !kept.Kept || !kept.Up {
		t.Fatalf("health is %+v, want a containerd that was kept", kept)
	}
	if _, err := b.LoadImages(ctx, cacheDir(t, "images")); err != nil {
		t.Fatal(err)
	}
	client, _, container := boxPod(ctx, t, b, 18082)
	started := stillRuns(ctx, t, client, container, 0)

	stop := supervise(ctx, b)
	if err := unix.Kill(kept.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	revived := awaitHealth(ctx, t, b, "up again", func(h boxruntime.Health) bool { return h.Up && h.PID != kept.PID })
	if err := stop(); err != nil {
		t.Errorf("Supervise: %v", err)
	}
	stillRuns(ctx, t, client, container, started)

	c.LogLevel = "error"
	changed := startBox(ctx, t, c)
	h, _ := changed.Health()
	if h.Kept || h.PID == revived.PID {
		t.Errorf("health after a change of configuration is %+v, want a new containerd", h)
	}
	stillRuns(ctx, t, client, container, started)
	if changed.Subnet() != b.Subnet() {
		t.Errorf("the subnet went from %s to %s", b.Subnet(), changed.Subnet())
	}

	// A lost record is no reason to start a second containerd.
	if err := os.Remove(filepath.Join(filepath.Dir(strings.TrimPrefix(changed.Endpoint(), "unix://")), "containerd.json")); err != nil {
		t.Fatal(err)
	}
	found := startBox(ctx, t, c)
	if h2, _ := found.Health(); !h2.Up {
		t.Errorf("health is %+v, want up", h2)
	}
	if err := unix.Kill(h.PID, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the containerd without a record, %d, still runs beside the new one", h.PID)
	}
	stillRuns(ctx, t, client, container, started)
}

// TestBoxImages: archives are loaded once, a bad one does not hinder the others, and pods need no registry.
func TestBoxImages(t *testing.T) {
	for _, snapshotter := range []string{"overlayfs", "native"} {
		t.Run(snapshotter, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), boxTimeout)
			defer cancel()
			c := boxConfig(t)
			c.Snapshotter = snapshotter
			b := startBox(ctx, t, c)
			dir := t.TempDir()
			for _, name := range []string{"pause.tar", "busybox.tar"} {
				if err := os.Symlink(filepath.Join(cacheDir(t, "images"), name), filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "broken.tar"), []byte("no archive"), 0o600); err != nil {
				t.Fatal(err)
			}
			loaded, err := b.LoadImages(ctx, dir)
			if err == nil || !strings.Contains(err.Error(), "broken.tar") {
				t.Errorf("the broken archive gave %v", err)
			}
			if len(loaded) != 2 || loaded[0].Already || loaded[1].Already {
				t.Errorf("loaded %+v, want two archives", loaded)
			}
			boxPod(ctx, t, b, 18083)
			if err := os.Remove(filepath.Join(dir, "broken.tar")); err != nil {
				t.Fatal(err)
			}
			again, err := b.LoadImages(ctx, dir)
			if err != nil || len(again) != 2 || !again[0].Already || !again[1].Already {
				t.Errorf("loaded again: %+v, %v; want both as already there", again, err)
			}
		})
	}
}

// TestBoxBadDay: what keeps containerd from starting is said with its own words, and nothing of it is left running.
func TestBoxBadDay(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), boxTimeout)
	defer cancel()
	c := boxConfig(t)
	additions := filepath.Join(c.Root, "config.d")
	if err := os.MkdirAll(additions, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(additions, "mine.toml"), []byte("version = 3\nroot = 17\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := boxruntime.Start(ctx, c)
	if err == nil {
		t.Fatal("containerd started with a bad configuration")
	}
	for _, want := range []string{"exit code 1", "containerd.log", "config.d"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not speak of %s:\n%v", want, err)
		}
	}
	if err := os.Remove(filepath.Join(additions, "mine.toml")); err != nil {
		t.Fatal(err)
	}
	startBox(ctx, t, c)
}
