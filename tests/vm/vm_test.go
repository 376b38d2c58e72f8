package vm

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// deadline bounds the life of the machine. It takes some 100 seconds of processor time: about a minute and a
// half of two idle processors, and as long as it takes when many others want them too.
const deadline = 18 * time.Minute

// TestCgroupV2 boots the machine and reports what the guest's tests found. It leaves nothing behind.
func TestCgroupV2(t *testing.T) {
	if testing.Short() {
		t.Skip("short: it boots a virtual machine")
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	kernel := fetchKernel(ctx, t)
	dir := t.TempDir()
	var parts errgroup.Group
	parts.Go(func() error { return build(ctx, dir) })
	parts.Go(func() error { return startCluster(ctx, t, filepath.Join(dir, "root", "etc", "cluster")) })
	if err := parts.Wait(); err != nil {
		t.Fatal(err)
	}
	disk, archive := filepath.Join(dir, "disk"), filepath.Join(dir, "initramfs")
	if err := makeDisk(ctx, disk, dir, "../../.cache"); err != nil {
		t.Fatal(err)
	}
	if err := writeInitramfs(archive, filepath.Join(dir, "guest"), kernel); err != nil {
		t.Fatal(err)
	}
	c := openConsole(t)
	if err := boot(ctx, kernel, archive, disk, c); err != nil {
		t.Errorf("the machine: %v", err)
	}
	c.report(t)
}

// fetchKernel gives the directory of the machine's kernel. Without QEMU or a kernel there is no machine to test on.
func fetchKernel(ctx context.Context, t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, "../../tools/kernel.sh")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("cgroup v2 is NOT tested: QEMU or its kernel cannot be had: tools/kernel.sh: %v\n%s", err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// The kernel's command line: quiet, no safety against what does not happen here, no waiting where it can choose, and some huge
// pages.
const kernelLine = "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off nokaslr audit=0 apparmor=0 selinux=0 nowatchdog " +
	"rcupdate.rcu_expedited=1 random.trust_cpu=on tsc=reliable 8250.nr_uarts=1 hugepages=8"

// boot runs the machine until it is switched off, with its console to the writer.
func boot(ctx context.Context, kernel, archive, disk string, console io.Writer) error {
	line := kernelLine
	if only := os.Getenv("BOSUN_VM_RUN"); only != "" { // which tests of the guest to run, as `go test -run` has it
		line += " guest.run=" + only
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64",
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-monitor", "none", "-serial", "stdio",
		"-kernel", filepath.Join(kernel, "vmlinuz"), "-initrd", archive, "-append", line,
		"-drive", "if=none,id=disk,format=raw,cache=unsafe,file="+disk, "-device", "virtio-blk-pci,drive=disk",
		"-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=")
	cmd.Stdout, cmd.Stderr = console, console
	// The machine dies with the thread that started it, so that even a killed test leaves none behind.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	fmt.Fprintf(console, "machine: %v of processor time\n", cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("not switched off within %v", deadline)
		}
		return err
	}
	return nil
}

// A console keeps what the machine says, and writes it into a file as it is said, if there is one.
type console struct {
	text strings.Builder
	file *os.File
}

func (c *console) Write(p []byte) (int, error) {
	if c.file != nil {
		if _, err := c.file.Write(p); err != nil {
			return 0, err
		}
	}
	return c.text.Write(p)
}

// openConsole takes the file from the environment: for whoever cannot wait for the end.
func openConsole(t *testing.T) *console {
	t.Helper()
	c := &console{}
	if path := os.Getenv("BOSUN_VM_CONSOLE"); path != "" {
		var err error
		if c.file, err = os.Create(path); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.file.Close() })
	}
	return c
}

var verdict = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+) \((.*)\)$`)

// report makes a subtest of each test of the guest.
func (c *console) report(t *testing.T) {
	ended, passed := false, 0
	lines := bufio.NewScanner(strings.NewReader(strings.ReplaceAll(c.text.String(), "\r", "")))
	for lines.Scan() {
		line := lines.Text()
		if line == "guest: ended with 0" {
			ended = true
		}
		found := verdict.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		t.Run(found[2], func(t *testing.T) {
			t.Log("took", found[3], "in the machine")
			switch found[1] {
			case "FAIL":
				t.Error("failed; see the console below")
			case "SKIP":
				t.Error("skipped; see the console below")
			}
		})
		passed++
	}
	if !ended || passed == 0 {
		t.Error("the guest did not come to a good end")
	}
	if t.Failed() || testing.Verbose() {
		t.Logf("the console:\n%s", c.text.String())
	}
}
