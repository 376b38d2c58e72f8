package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Namespace is containerd's namespace for what belongs to CRI.
const Namespace = "k8s.io"

// startDeadline bounds everything that starts or ends here; each takes a second or two on an idle machine.
const startDeadline = 60 * time.Second

// A Bed is a private containerd with its network and images. All fields are set before Open returns and do not change.
type Bed struct {
	Dir          string // holds all files of the bed
	Socket       string // of CRI; as an endpoint: "unix://" + Socket
	BinDir       string // containerd, ctr, runc and the CNI plugins
	CNIConfDir   string
	CNIBinDir    string
	CertsDir     string // hosts.toml files of registries
	LogFile      string // what containerd says
	Subnet       string // of the pods, such as 10.88.1.0/24
	Gateway      string // this side's address in Subnet
	CgroupParent string // for pods of tests that make their own CRI calls; an agent under test may use "/"

	bridge string
	// program starts the runtime.
	program []string
	on      *Machine // where containerd runs; nil for where the tests do
	mu      sync.Mutex
	daemon  *daemon // nil while containerd does not run
}

// Options choose what a bed has. The zero value is right for most tests.
type Options struct {
	// Images are imported before the start returns: names of tarballs from `make images`, without .tar.
	// Nil means all of them; the pause image is always there.
	Images []string
	// Config is more containerd configuration (TOML), put after the bed's own.
	Config string
	// Machine is where the bed's containerd runs, and with it its pods and their network; nil for where the tests run.
	Machine *Machine
}

var beds atomic.Int32

// Start opens a bed for one test and closes it when the test is over. If the test failed, containerd's last words
// are in its log.
func Start(tb testing.TB, options Options) *Bed {
	tb.Helper()
	RequireRoot(tb)
	b, err := Open(options)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("containerd said at last:\n%s", b.LogTail(4000))
		}
		if err := b.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return b
}

// RequireRoot skips the test without root: namespaces, mounts and cgroups need it.
func RequireRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("needs root: it runs real containers")
	}
}

// Open makes a bed and starts its containerd. The program must run in [Confined].
func Open(options Options) (*Bed, error) {
	scratch := os.Getenv(scratchVariable)
	if scratch == "" {
		return nil, errors.New("testbed: not confined: TestMain must be `func TestMain(m *testing.M) { testbed.Main(m) }`")
	}
	wd, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	cache := filepath.Join(moduleRoot(wd), ".cache")
	n := int(beds.Add(1))
	dir := filepath.Join(scratch, fmt.Sprint("bed", n))
	b := &Bed{
		Dir:          dir,
		Socket:       filepath.Join(dir, "containerd.sock"),
		BinDir:       filepath.Join(cache, "bin"),
		CNIBinDir:    filepath.Join(cache, "bin"),
		CNIConfDir:   filepath.Join(dir, "cni"),
		CertsDir:     filepath.Join(dir, "certs.d"),
		LogFile:      filepath.Join(dir, "containerd.log"),
		Subnet:       fmt.Sprintf("10.88.%d.0/24", n),
		Gateway:      fmt.Sprintf("10.88.%d.1", n),
		CgroupParent: fmt.Sprint("/bed", n),
		bridge:       fmt.Sprint("bed", n),
		on:           options.Machine,
	}
	b.program = []string{filepath.Join(b.BinDir, "containerd"), "--config", filepath.Join(dir, "config.toml")}
	if err := b.writeConfig(options.Config); err != nil {
		return nil, fmt.Errorf("testbed: %w", err)
	}
	if _, err := os.Stat(b.program[0]); err != nil {
		return nil, fmt.Errorf("testbed: %w; run `make tools images` first", err)
	}
	if err := b.open(cache, options.Images); err != nil {
		return nil, fmt.Errorf("testbed: %w", errors.Join(err, b.Stop()))
	}
	return b, nil
}

func (b *Bed) open(cache string, images []string) error {
	tars, err := tarballs(filepath.Join(cache, "images"), images)
	if err != nil {
		return err
	}
	if OnCRIO() {
		return b.pullImages(tars)
	}
	if err := b.Restart(); err != nil {
		return err
	}
	return b.importImages(tars)
}

// Stop ends containerd and all containers, and takes away the bed's mounts and its bridge. What it misses
// ends with the namespaces.
func (b *Bed) Stop() error {
	var errs []error
	b.mu.Lock()
	if b.daemon != nil {
		errs = append(errs, b.daemon.end(syscall.SIGKILL))
		b.daemon = nil
	}
	b.mu.Unlock()
	errs = append(errs, killFamilies(b.Dir+"/"), unmountBelow(b.Dir))
	if _, err := os.Stat(filepath.Join("/proc/sys/net/ipv4/conf", b.bridge)); err == nil {
		errs = append(errs, exec.Command("ip", "link", "delete", b.bridge).Run())
	}
	errs = append(errs, removeCgroups(filepath.Base(b.CgroupParent)), os.RemoveAll(b.Dir))
	return errors.Join(errs...)
}

// Restart starts containerd, after ending the running one (SIGTERM) if there is one. Containers are left alone.
// It returns when containerd says that it is ready.
func (b *Bed) Restart() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.daemon != nil {
		if err := b.daemon.end(syscall.SIGTERM); err != nil {
			return err
		}
	}
	d, err := b.startDaemon()
	b.daemon = d
	return err
}

// Kill ends containerd with SIGKILL. Containers are left alone. Restart brings it back.
func (b *Bed) Kill() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.daemon == nil {
		return errors.New("testbed: containerd does not run")
	}
	err := b.daemon.end(syscall.SIGKILL)
	b.daemon = nil
	return err
}

// Pause makes containerd hang (SIGSTOP) until Resume. It returns when all its threads stand still.
func (b *Bed) Pause() error {
	return b.signal(syscall.SIGSTOP, func(pid int) error {
		for {
			if err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED, nil); !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	})
}

// Resume lets a paused containerd go on.
func (b *Bed) Resume() error {
	return b.signal(syscall.SIGCONT, func(int) error { return nil })
}

func (b *Bed) signal(s syscall.Signal, await func(pid int) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.daemon == nil {
		return errors.New("testbed: containerd does not run")
	}
	if err := b.daemon.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("testbed: send %v to containerd: %w", s, err)
	}
	if err := await(b.daemon.cmd.Process.Pid); err != nil {
		return fmt.Errorf("testbed: wait for containerd after %v: %w", s, err)
	}
	return nil
}

// Dial gives a connection to containerd. gRPC makes it when it is first used, and again after a loss.
func (b *Bed) Dial() (*grpc.ClientConn, error) {
	const most = 16 << 20 // as containerd's own limit
	return grpc.NewClient("unix://"+b.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(most), grpc.MaxCallSendMsgSize(most)))
}

// Ctr runs ctr, containerd's own client, in [Namespace].
func (b *Bed) Ctr(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.BinDir, "ctr"), append([]string{"-a", b.Socket, "-n", Namespace}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// LogTail is the last part of what containerd logged, at most so many bytes.
func (b *Bed) LogTail(most int) string {
	data, err := os.ReadFile(b.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-most):])
}
