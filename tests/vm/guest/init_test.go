package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inside is set for the process that runs the tests.
const inside = "BOSUN_GUEST"

func TestMain(m *testing.M) {
	switch {
	case os.Getpid() == 1:
		code, err := boot()
		if err != nil {
			fmt.Println("guest:", err)
			code = 1
		}
		// What the host waits for. Nothing follows it: the machine is switched off.
		fmt.Println("guest: ended with", code)
		unix.Sync()
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
		select {} // the end of process 1 would be a panic
	case os.Getenv(inside) != "":
		os.Exit(runTests(m))
	default:
		fmt.Println("these tests run in the virtual machine of tests/vm")
	}
}

// boot is what an init does: modules, mounts, the first process, and the children nobody waits for.
func boot() (code int, err error) {
	for _, m := range []mountPoint{{"devtmpfs", "/dev", "", 0}, {"proc", "/proc", "", 0}, {"sysfs", "/sys", "", 0}} {
		if err := m.mount(); err != nil {
			return 0, err
		}
	}
	// In the order of their dependencies; the disk comes first.
	for _, module := range []string{"virtio_blk", "overlay", "llc", "stp", "bridge", "veth", "failover", "net_failover", "virtio_net"} {
		if err := load(module); err != nil {
			return 0, err
		}
	}
	if err := enterDisk(); err != nil {
		return 0, err
	}
	_ = unix.Sethostname([]byte("vm")) // only for looks
	if err := raise("lo", nil); err != nil {
		return 0, err
	}
	if err := raise("eth0", net.ParseIP(ownAddress).To4()); err != nil {
		return 0, err
	}
	if err := addSwap(); err != nil {
		return 0, err
	}
	cmd := exec.Command("/bin/guest", "-test.v", "-test.failfast", "-test.timeout=17m", "-test.parallel=32", "-test.run="+wantedTests())
	cmd.Env = []string{"PATH=/bin", "HOME=/root", inside + "=1"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	return reap(cmd.Process.Pid)
}

// reap waits for all children, those it inherits too, until the first has ended.
func reap(first int) (code int, err error) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for children: %w", err)
		case pid == first && status.Signaled():
			return 0, fmt.Errorf("the tests died of %v", status.Signal())
		case pid == first && status.Exited():
			return status.ExitStatus(), nil
		}
	}
}

type mountPoint struct {
	fs, dir, options string
	flags            uintptr
}

func (m mountPoint) mount() error {
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return err
	}
	source := m.fs
	if m.fs == "ext4" {
		source = "/dev/vda"
	}
	if err := unix.Mount(source, m.dir, m.fs, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.fs, m.dir, err)
	}
	return nil
}

// load loads a kernel module of the initramfs.
func load(name string) error {
	f, err := os.Open("/modules/" + name + ".ko")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", name, err)
	}
	return nil
}

// enterDisk makes the disk the root: containers cannot be started from an initramfs, which has nothing below it to
// pivot to.
func enterDisk() error {
	if err := (mountPoint{"ext4", "/disk", "", unix.MS_NOATIME}).mount(); err != nil {
		return err
	}
	const plain = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	for _, m := range []mountPoint{
		{"devtmpfs", "dev", "mode=755", unix.MS_NOSUID},
		{"devpts", "dev/pts", "ptmxmode=666,mode=620", unix.MS_NOSUID | unix.MS_NOEXEC},
		{"tmpfs", "dev/shm", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
		{"mqueue", "dev/mqueue", "", plain},
		{"proc", "proc", "", plain},
		{"sysfs", "sys", "", plain},
		{"cgroup2", "sys/fs/cgroup", "nsdelegate,memory_recursiveprot", plain},
		{"tmpfs", "run", "mode=755", unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", "tmp", "mode=1777", unix.MS_NOSUID | unix.MS_NODEV},
	} {
		m.dir = filepath.Join("/disk", m.dir)
		if err := m.mount(); err != nil {
			return err
		}
	}
	if err := os.Chdir("/disk"); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the disk to /: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	// As systemd leaves it.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	return nil
}

// raise gives an interface an address, with 24 bits for its network, unless that is nil, and switches it on.
func raise(name string, address net.IP) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer unix.Close(s)
	device, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if address != nil {
		for _, step := range []struct {
			request uint
			ip      net.IP
		}{{unix.SIOCSIFADDR, address}, {unix.SIOCSIFNETMASK, net.IP{255, 255, 255, 0}}} {
			if err := device.SetInet4Addr(step.ip); err != nil {
				return err
			}
			if err := unix.IoctlIfreq(s, step.request, device); err != nil {
				return fmt.Errorf("give %s an address: %w", name, err)
			}
		}
	}
	device.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, device); err != nil {
		return fmt.Errorf("raise %s: %w", name, err)
	}
	return nil
}

// swapSize is how much of the disk is for swapping.
const swapSize = 256 << 20

// addSwap makes a swap file, as mkswap does, and takes it into use.
func addSwap() error {
	const path, page = "/swap", 4096
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, swapSize); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	head := make([]byte, page)
	binary.LittleEndian.PutUint32(head[1024:], 1)               // version
	binary.LittleEndian.PutUint32(head[1028:], swapSize/page-1) // the last page
	copy(head[page-10:], "SWAPSPACE2")
	if _, err := f.WriteAt(head, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	name, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(name)), 0, 0); errno != 0 {
		return fmt.Errorf("swap on %s: %w", path, errno)
	}
	return nil
}

// wantedTests is what the host has said with guest.run on the kernel's command line; all tests if it has not.
func wantedTests() string {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return ""
	}
	for field := range strings.FieldsSeq(string(line)) {
		if only, ok := strings.CutPrefix(field, "guest.run="); ok {
			return only
		}
	}
	return ""
}
