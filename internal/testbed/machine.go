package testbed

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A Machine is what programs see that shall believe to have a machine for themselves: mounts, network, host name and cgroups of
// their own. /run, /var/lib, /var/log and /etc/kubernetes are empty; /etc, /opt and the like are the real ones, but what is written
// there is only seen by this machine. All machines of a run are in one network with the tests. Processes are not hidden.
type Machine struct {
	Name    string // its host name
	Address string // its IPv4 address
	cmd     *exec.Cmd
	alive   io.Closer // closing it ends the process that holds the namespaces
	link    string    // our end of its cable
}

// machineVariable tells the process that becomes a machine: directory, name and address.
const machineVariable = "BOSUN_TESTBED_MACHINE"

// MachineGateway is the tests' own address in the network of the machines.
const MachineGateway = "10.99.0.1"

const machineBridge = "machines"

var machines atomic.Int32

// StartMachine makes a machine. It ends with the test; what still runs there is for others to end, before or after.
func StartMachine(tb testing.TB, name string) *Machine {
	tb.Helper()
	RequireRoot(tb)
	n := int(machines.Add(1))
	m := &Machine{Name: name, Address: fmt.Sprintf("10.99.0.%d", 1+n), link: fmt.Sprint("machine", n)}
	tb.Cleanup(func() {
		if err := m.end(); err != nil {
			tb.Errorf("testbed: end machine %s: %v", name, err)
		}
	})
	if err := m.start(); err != nil {
		tb.Fatalf("testbed: start machine %s: %v", name, err)
	}
	return m
}

// Path is where the tests find a file of the machine while it lives.
func (m *Machine) Path(path string) string {
	return filepath.Join("/proc", strconv.Itoa(m.cmd.Process.Pid), "root", path)
}

// enter moves the process into the top of the machine's cgroups, on v2 into the leaf for that, and becomes the program.
const enter = `for d in /sys/fs/cgroup /sys/fs/cgroup/*; do
	[ -d $d/testbed ] && d=$d/testbed
	[ ! -e $d/cgroup.procs ] || echo 0 >$d/cgroup.procs
done
exec "$@"`

// Command is a program that is to run on the machine, in its root directory. The process is the program itself: signals reach it.
func (m *Machine) Command(program string, args ...string) *exec.Cmd {
	all := []string{"--target", strconv.Itoa(m.cmd.Process.Pid), "--mount", "--net", "--uts", "--cgroup", "--", "/bin/sh", "-c", enter, "sh", program}
	return exec.Command("nsenter", append(all, args...)...)
}

func (m *Machine) start() error {
	m.cmd = again("machine")
	dir := filepath.Join(os.Getenv(scratchVariable), m.link)
	m.cmd.Env = append(m.cmd.Env, machineVariable+"="+strings.Join([]string{dir, m.Name, m.Address}, " "))
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS}
	m.cmd.Stdin, m.cmd.Stdout = nil, nil
	alive, err := m.cmd.StdinPipe()
	if err != nil {
		return err
	}
	m.alive = alive
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it has said why
		return fmt.Errorf("wait for its namespaces: %w", err)
	}
	return m.connect()
}

// connect lays the cable from the machine to the bridge.
func (m *Machine) connect() error {
	if _, err := os.Stat(filepath.Join("/proc/sys/net/ipv4/conf", machineBridge)); errors.Is(err, os.ErrNotExist) {
		if err := ipCommands(exec.Command, "link add "+machineBridge+" type bridge", "address add "+MachineGateway+"/24 dev "+machineBridge,
			"link set "+machineBridge+" up"); err != nil {
			return err
		}
	}
	if err := ipCommands(exec.Command, fmt.Sprintf("link add %s type veth peer name eth0 netns %d", m.link, m.cmd.Process.Pid),
		"link set "+m.link+" master "+machineBridge, "link set "+m.link+" up"); err != nil {
		return err
	}
	return ipCommands(m.Command, "link set lo up", "address add "+m.Address+"/24 dev eth0", "link set eth0 up", "route add default via "+MachineGateway)
}

func ipCommands(command func(string, ...string) *exec.Cmd, lines ...string) error {
	for _, line := range lines {
		if out, err := command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return nil
}

// end takes the cable away and lets the namespaces go.
func (m *Machine) end() error {
	if m.cmd == nil || m.cmd.Process == nil {
		return nil
	}
	err := m.alive.Close()
	err = errors.Join(err, m.cmd.Wait())
	if _, gone := os.Stat(filepath.Join("/proc/sys/net/ipv4/conf", m.link)); gone == nil {
		err = errors.Join(err, ipCommands(exec.Command, "link delete "+m.link))
	}
	return err
}

// machineProcess becomes the machine: the stage that holds its namespaces until the tests let go.
func machineProcess() (int, error) {
	runtime.LockOSThread() // the cgroup namespace is the thread's
	var dir, name, address string
	if _, err := fmt.Sscan(os.Getenv(machineVariable), &dir, &name, &address); err != nil {
		return 0, fmt.Errorf("read %s: %w", machineVariable, err)
	}
	if err := enterCgroups(filepath.Base(dir)); err != nil {
		return 0, fmt.Errorf("enter own cgroups: %w", err)
	}
	if err := machineMounts(dir); err != nil {
		return 0, err
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return 0, fmt.Errorf("set the host name: %w", err)
	}
	for file, text := range map[string]string{
		"/etc/hostname":                 name + "\n",
		"/etc/hosts":                    "127.0.0.1 localhost\n" + address + " " + name + "\n",
		"/proc/sys/net/ipv4/ip_forward": "1", // the network's, so the machine's own
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return 0, err
		}
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return 0, err
}

// machineMounts makes the file system a machine's own where machines differ. Writes into the overlays go below dir.
func machineMounts(dir string) error {
	for _, over := range []string{"/etc", "/opt", "/usr/libexec", "/usr/share", "/usr/local/share"} {
		if _, err := os.Stat(over); err != nil {
			continue // not on this distribution
		}
		upper, work := filepath.Join(dir, over), filepath.Join(dir, "work", over)
		for _, d := range []string{upper, work} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount("overlay", over, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", over, upper, work)); err != nil {
			return fmt.Errorf("mount an overlay on %s: %w", over, err)
		}
	}
	for _, empty := range []string{"/run", "/var/log", "/var/lib", "/etc/kubernetes"} {
		if _, err := os.Stat(empty); err != nil {
			continue
		}
		if err := hide(empty, append(needed(), os.Getenv(scratchVariable))); err != nil {
			return err
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	return nil
}
