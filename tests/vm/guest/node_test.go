package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	socket    = "/run/containerd.sock"
	manifests = "/etc/manifests"
	rootDir   = "/var/lib/kubelet"
	// nodeName and ownAddress are what the host's test and QEMU give it.
	nodeName   = "vm"
	ownAddress = "10.0.2.15"
	// patience bounds everything that is waited for: the machine is emulated, and slow.
	patience = 5 * time.Minute
	// glance is the pause between two looks at something that has no event.
	glance = 100 * time.Millisecond
)

const containerdConfig = `version = 4
root = '/var/lib/containerd'
state = '/run/containerd'
imports = []
disabled_plugins = ['io.containerd.snapshotter.v1.btrfs', 'io.containerd.snapshotter.v1.devmapper',
  'io.containerd.snapshotter.v1.zfs', 'io.containerd.snapshotter.v1.erofs', 'io.containerd.snapshotter.v1.blockfile',
  'io.containerd.tracing.processor.v1.otlp', 'io.containerd.internal.v1.tracing']

[plugins.'io.containerd.server.v1.grpc']
address = '/run/containerd.sock'
[plugins.'io.containerd.server.v1.ttrpc']
address = '/run/containerd.sock.ttrpc'
[plugins.'io.containerd.nri.v1.nri']
disable = true
[plugins.'io.containerd.cri.v1.runtime']
disable_hugetlb_controller = false
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['/bin']
conf_dir = '/etc/cni'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
runtime_path = '/bin/containerd-shim-runc-v2'
options = { BinaryName = '/bin/runc' }
`

// Without masquerade and host ports: the machine has no iptables.
const cniConfig = `{
  "cniVersion": "1.0.0", "name": "vm",
  "plugins": [{
    "type": "bridge", "bridge": "vm0", "isGateway": true,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
  }]
}
`

var (
	cri    runtimeapi.RuntimeServiceClient
	images runtimeapi.ImageServiceClient
)

// runTests brings up containerd with the images, and bosun; then the tests.
func runTests(m *testing.M) int {
	begun := time.Now()
	step := func(what string, do func() error) bool {
		if err := do(); err != nil {
			fmt.Printf("guest: %s: %v\n", what, err)
			return false
		}
		fmt.Printf("guest: %s, %.1f s\n", what, time.Since(begun).Seconds())
		return true
	}
	code := 1
	if step("files", writeFiles) && step("containerd", startContainerd) && step("images", importImages) && step("bosun", func() error { return startBosun(lone) }) {
		code = m.Run()
	}
	if code != 0 {
		tell("containerd", "/var/log/containerd.log")
		tell("bosun", "/var/log/bosun.log")
	}
	return code
}

// tell prints the last part of a log.
func tell(name, path string) {
	const most = 20000
	text, err := os.ReadFile(path)
	if err != nil {
		fmt.Println("guest:", err)
		return
	}
	fmt.Printf("guest: %s said:\n%s\n", name, text[max(0, len(text)-most):])
}

func writeFiles() error {
	for path, text := range map[string]string{
		"/etc/containerd.toml":    containerdConfig,
		"/etc/cni/10-vm.conflist": cniConfig,
		"/etc/hosts":              "127.0.0.1 localhost\n",
		"/etc/resolv.conf":        "nameserver 192.0.2.53\n",
		"/etc/passwd":             "root:x:0:0:root:/root:/bin/none\n",
		"/etc/group":              "root:x:0:\n",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, dir := range []string{manifests, "/var/log", "/root"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// The cgroups that the node's own programs are in, as systemd would have them.
const (
	systemCgroup = "/system" // containerd
	kubeCgroup   = "/kube"   // bosun
)

// start starts a program in a cgroup. It logs to /var/log. Process 1 is not its parent: whoever ends it waits for it.
func start(cgroup string, env []string, name string, args ...string) (*exec.Cmd, error) {
	if err := os.Mkdir(cgroups+cgroup, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	dir, err := os.Open(cgroups + cgroup)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	log, err := os.OpenFile("/var/log/"+name+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("/bin/"+name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	return cmd, cmd.Start()
}

// startContainerd returns when containerd has said that it is ready, as it would to systemd.
func startContainerd() error {
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/run/notify", Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := start(systemCgroup, []string{"NOTIFY_SOCKET=/run/notify"}, "containerd", "--config", "/etc/containerd.toml"); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	buf := make([]byte, 1024)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		if strings.Contains(string(buf[:n]), "READY=1") {
			break
		}
	}
	client, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	cri, images = runtimeapi.NewRuntimeServiceClient(client), runtimeapi.NewImageServiceClient(client)
	return nil
}

func importImages() error {
	tars, err := filepath.Glob("/images/*.tar")
	if err != nil {
		return err
	}
	for _, tar := range tars {
		out, err := exec.Command("/bin/ctr", "-a", socket, "-n", "k8s.io", "images", "import", "--local", tar).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	return nil
}

// bosun is the agent that runs, and asBefore how it was started.
var (
	bosun    *exec.Cmd
	asBefore agent
)

// An agent is how bosun is started: its configuration, and flags beside those that it always has.
type agent struct {
	config string
	flags  []string
}

const configFile = "/etc/kubelet.yaml"

// common are the flags that every agent has.
var common = []string{
	"--config=" + configFile, "--root-dir=" + rootDir, "--container-runtime-endpoint=unix://" + socket, "--fail-swap-on=false", "--healthz-port=0",
}

func startBosun(a agent) error {
	if err := os.WriteFile(configFile, []byte("apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"+a.config), 0o644); err != nil {
		return err
	}
	args := append([]string{"run"}, common...)
	args = append(args, "--pod-manifest-path="+manifests, "--read-only-port=10255", "--hostname-override="+nodeName, "--node-ip="+ownAddress)
	var err error
	bosun, err = start(kubeCgroup, nil, "bosun", append(args, a.flags...)...)
	asBefore = a
	return err
}

// killBosun ends bosun as a crash does.
func killBosun() error {
	if err := bosun.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	var ended *exec.ExitError
	if err := bosun.Wait(); !errors.As(err, &ended) {
		return fmt.Errorf("bosun ended before it was killed: %w", err)
	}
	return nil
}

// restartBosun ends bosun as systemd does, and starts it in another way.
func restartBosun(a agent) error {
	if err := bosun.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := bosun.Wait(); err != nil {
		return fmt.Errorf("bosun, told to end: %w", err)
	}
	return startBosun(a)
}

// eventually looks until what says nothing is wrong, at most for patience.
func eventually(t *testing.T, what func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", patience, err)
		}
		<-time.After(glance)
	}
}
