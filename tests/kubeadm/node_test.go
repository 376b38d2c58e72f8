package kubeadm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/testbed"
)

// patience bounds what takes some seconds on an idle machine.
const patience = 3 * time.Minute

// binary is the program under test, built once, or named by BOSUN_TEST_BINARY.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("BOSUN_TEST_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "bosun")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bosun")
	if out, err := exec.Command("go", "build", "-tags", "grpcnotrace", "-o", path, "../../cmd/bosun").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build bosun: %w: %s", err, out)
	}
	return path, nil
})

// A node is a machine with containerd, the programs of kubeadm's packages, and Bosun where they have the kubelet.
type node struct {
	*testbed.Machine
	bed     *testbed.Bed
	bin     string   // in front of PATH on this machine
	systemd string   // the socket at which systemctl asks
	kubelet []string // how the unit starts it
	unit    *unit
	// mountedAtFirst is where something was mounted before the kubelet was there.
	mountedAtFirst map[string]bool
}

// newNode is a machine just installed: the unit kubelet is enabled and waits for kubeadm. images are for its runtime; more are arguments
// before those of the unit, such as the sub-command.
func newNode(t *testing.T, name string, images []string, program string, more ...string) *node {
	t.Helper()
	bosun, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	m := testbed.StartMachine(t, name)
	n := &node{Machine: m, bed: testbed.Start(t, testbed.Options{Machine: m, Images: []string{"testbox"}})}
	n.bin, n.systemd = filepath.Join(n.bed.Dir, "usr-bin"), filepath.Join(n.bed.Dir, "systemd.sock")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(n.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{
		"systemctl": self, "bosun": bosun, "kubelet": bosun,
		"kubeadm": filepath.Join(n.bed.BinDir, "kubeadm"), "kubectl": filepath.Join(n.bed.BinDir, "kubectl"),
	} {
		if err := os.Symlink(to, filepath.Join(n.bin, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tar := range images {
		if _, err := n.bed.Ctr(t.Context(), "images", "import", tar); err != nil {
			t.Fatal(err)
		}
	}
	// Where kubeadm looks for a runtime.
	n.run(t, "mkdir", "-p", "/run/containerd")
	n.run(t, "ln", "-s", n.bed.Socket, "/run/containerd/containerd.sock")
	n.kubelet = append([]string{filepath.Join(n.bin, program)}, more...)
	n.mountedAtFirst = n.mounts(t)
	n.unit = startUnit(t, n)
	t.Cleanup(func() {
		if dir := os.Getenv("BOSUN_TEST_KEEP"); dir != "" {
			for _, log := range []string{n.unit.log, n.bed.LogFile} {
				data, err := os.ReadFile(log)
				if err != nil || os.WriteFile(filepath.Join(dir, n.Name+"-"+filepath.Base(log)), data, 0o644) != nil {
					t.Errorf("keep %s: %v", log, err)
				}
			}
		}
		if t.Failed() {
			t.Logf("the last of the unit kubelet on %s:\n%s", n.Name, tail(n.unit.log, 8000))
		}
	})
	return n
}

// command is a program on the node with the environment of a root shell there.
func (n *node) command(program string, args ...string) *exec.Cmd {
	cmd := n.Command(program, args...)
	cmd.Env = []string{
		"PATH=" + n.bin + ":/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + n.bed.Dir, "TMPDIR=/tmp",
		"KUBECONFIG=/etc/kubernetes/admin.conf", "KUBECACHEDIR=" + filepath.Join(n.bed.Dir, "kubectl-cache"), systemctlVariable + "=" + n.systemd,
	}
	return cmd
}

// try runs a program on the node and returns what it printed; what it complained of is in the error.
func (n *node) try(program string, args ...string) (string, error) {
	return n.tryInput("", program, args...)
}

func (n *node) tryInput(input, program string, args ...string) (string, error) {
	cmd := n.command(program, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("on %s: %s %s: %w: %s", n.Name, program, strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// run is try that must succeed.
func (n *node) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := n.try(program, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// kubeadm runs kubeadm and puts what it said into the test's log.
func (n *node) kubeadm(t *testing.T, args ...string) string {
	t.Helper()
	began := time.Now()
	cmd := n.command("kubeadm", args...)
	out, err := cmd.CombinedOutput()
	t.Logf("on %s: kubeadm %s (%v):\n%s", n.Name, strings.Join(args, " "), time.Since(began).Round(time.Millisecond), out)
	if err != nil {
		t.Fatalf("on %s: kubeadm %s: %v", n.Name, strings.Join(args, " "), err)
	}
	return string(out)
}

// object reads an object with kubectl.
func (n *node) object(into any, args ...string) error {
	out, err := n.try("kubectl", append([]string{"get", "-o", "json"}, args...)...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), into)
}

// write puts a file on the node.
func (n *node) write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(n.Path(filepath.Dir(path)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(n.Path(path), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (n *node) read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(n.Path(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// mounts is where something is mounted on the node.
func (n *node) mounts(t *testing.T) map[string]bool {
	t.Helper()
	at := map[string]bool{}
	for line := range strings.Lines(n.run(t, "cat", "/proc/self/mountinfo")) {
		at[strings.Fields(line)[4]] = true
	}
	return at
}
