package boxruntime

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A process is one we watch through a pidfd, whoever started it: the descriptor means this process and no later one with
// the same number.
type process struct {
	pid   int
	start uint64 // clock ticks after boot
	dying bool   // when it was opened its first thread had ended; others may need a moment more
	file  *os.File
}

// errNoProcess: no process has this number, or another one than meant.
var errNoProcess = errors.New("no such process")

// openProcess opens the process with this number. With start other than 0 it must be the one that started then: numbers
// are used again.
func openProcess(pid int, start uint64) (*process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, errNoProcess
	} else if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // lets the Go runtime wait on it without a thread
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	p := &process{pid: pid, file: os.NewFile(uintptr(fd), "pidfd")}
	// Read after the descriptor was opened: so it is the start of the very process the descriptor means.
	stat, err := readStat(pid)
	if err != nil || start != 0 && stat.start != start {
		p.close()
		return nil, errNoProcess
	}
	p.start, p.dying = stat.start, stat.state == 'Z'
	return p, nil
}

func (p *process) close() { _ = p.file.Close() }

// wait blocks until the process has ended, or ctx has.
func (p *process) wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = p.file.SetReadDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() {
			_ = p.file.SetReadDeadline(time.Time{})
		}
	}()
	raw, err := p.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("watch process %d: %w", p.pid, err)
	}
	err = raw.Read(readable)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("watch process %d: %w", p.pid, err)
	}
	return nil
}

// ended says, without waiting, whether the process has ended.
func (p *process) ended() bool {
	over := false
	raw, err := p.file.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { over = readable(fd) })
	return over
}

// readable: a pidfd becomes readable when its process ends.
func readable(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n > 0
}

// reap collects the exit status of a process that has ended and says it in words. Only the parent can know it.
func (p *process) reap() string {
	var status unix.WaitStatus
	pid, err := unix.Wait4(p.pid, &status, unix.WNOHANG, nil)
	switch {
	case err != nil || pid != p.pid:
		return "ended (how is not known: an earlier Bosun had started it)"
	case status.Signaled():
		return "was ended by signal " + unix.SignalName(status.Signal())
	default:
		return fmt.Sprintf("ended with exit code %d", status.ExitStatus())
	}
}

// signal sends sig. A process that has ended already is success.
func (p *process) signal(sig unix.Signal) error {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	if sent != nil && !errors.Is(sent, unix.ESRCH) {
		return fmt.Errorf("send %s to process %d: %w", unix.SignalName(sig), p.pid, sent)
	}
	return nil
}

// end asks the process to end and insists after patience, or at once when ctx ends first.
func (p *process) end(ctx context.Context, patience time.Duration) error {
	if err := p.signal(unix.SIGTERM); err != nil {
		return err
	}
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if p.wait(patient) != nil {
		if err := p.signal(unix.SIGKILL); err != nil {
			return err
		}
		// A killed process ends as soon as the kernel gets to it; a deadline only for one stuck in a system call.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), killPatience)
		defer cancel()
		if err := p.wait(last); err != nil {
			return fmt.Errorf("process %d does not end even when killed: %w", p.pid, err)
		}
	}
	p.reap()
	return nil
}

const killPatience = 10 * time.Second

// stat is what /proc/PID/stat tells of a process.
type stat struct {
	name   string
	state  byte
	parent int
	start  uint64
}

func readStat(pid int) (stat, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(string(data))
}

// parseStat reads "PID (NAME) STATE PPID …"; the start time is field 22. The name may hold spaces and parentheses.
func parseStat(line string) (stat, error) {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("process stat %q: no name in parentheses", line)
	}
	fields := strings.Fields(line[end+1:]) // fields[0] is field 3
	if len(fields) < 20 || len(fields[0]) != 1 {
		return stat{}, fmt.Errorf("process stat %q: too few fields", line)
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return stat{}, fmt.Errorf("process stat %q: parent: %w", line, err)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("process stat %q: start time: %w", line, err)
	}
	return stat{name: line[open+1 : end], state: fields[0][0], parent: parent, start: start}, nil
}

// A record tells the next Bosun which process is our containerd and what it was started with.
type record struct {
	Version int    `json:"version"`
	PID     int    `json:"pid"`
	Start   uint64 `json:"startTicks"`
	Boot    string `json:"bootID"`
	// Config is the fingerprint of everything that containerd reads only at its start.
	Config string `json:"config"`
	// Log is the length of the log when this containerd was started: what follows is its own.
	Log int64 `json:"log"`
}

const recordVersion = 1

// find returns the process of a record, if it still runs: same boot, same number, same start. One that is just dying is
// seen off.
func (r record) find(ctx context.Context, boot string) (*process, error) {
	if r.PID <= 0 || r.Start == 0 || r.Boot != boot {
		return nil, errNoProcess
	}
	p, err := openProcess(r.PID, r.Start)
	if err != nil || !p.dying {
		return p, err
	}
	defer p.close()
	ctx, cancel := context.WithTimeout(ctx, killPatience)
	defer cancel()
	if err := p.wait(ctx); err != nil {
		return nil, fmt.Errorf("wait for the dying process %d: %w", p.pid, err)
	}
	p.reap()
	return nil, errNoProcess
}

// readRecord reads the pid record. A missing or unreadable one is no record: then the process table is searched.
func readRecord(file string) record {
	data, err := os.ReadFile(file)
	if err != nil {
		return record{}
	}
	var r record
	if json.Unmarshal(data, &r) != nil || r.Version != recordVersion {
		return record{}
	}
	return r
}

func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// running is one row of the process table.
type running struct {
	pid int
	stat
	args []string
	// inside is true for a process in a container: it has another PID namespace than Bosun. A Bosun may run in one, with the
	// very same paths.
	inside bool
}

// processTable reads what runs now. Processes that end meanwhile are left out.
func processTable() ([]running, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("read the process table: %w", err)
	}
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return nil, fmt.Errorf("read the process table: %w", err)
	}
	var table []running
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		s, err := readStat(pid)
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil {
			continue
		}
		space, err := os.Readlink(filepath.Join("/proc", e.Name(), "ns", "pid"))
		table = append(table, running{pid, s, splitArgs(line), err == nil && space != own})
	}
	return table, nil
}

func splitArgs(line []byte) []string {
	var args []string
	for arg := range bytes.SplitSeq(bytes.TrimSuffix(line, []byte{0}), []byte{0}) {
		args = append(args, string(arg))
	}
	return args
}

// ourContainerd finds a containerd that was started with this configuration file: one whose record was lost, because Bosun
// was killed in the instant between starting it and writing the record.
func ourContainerd(table []running, configFile string) (running, bool) {
	for _, r := range table {
		if r.state != 'Z' && !r.inside && len(r.args) == 3 && filepath.Base(r.args[0]) == "containerd" && r.args[1] == "--config" && r.args[2] == configFile {
			return r, true
		}
	}
	return running{}, false
}

// podProcesses finds the shims of the containerd at socket and everything below them, shims last: the containers and what
// they started.
func podProcesses(table []running, socket string) []running {
	children := map[int][]running{}
	var shims []running
	for _, r := range table {
		children[r.parent] = append(children[r.parent], r)
		if !r.inside && isShim(r.args, socket) {
			shims = append(shims, r)
		}
	}
	seen := map[int]bool{}
	var found []running
	var add func(r running)
	add = func(r running) {
		if seen[r.pid] {
			return
		}
		seen[r.pid] = true
		for _, child := range children[r.pid] {
			add(child)
		}
		found = append(found, r)
	}
	for _, shim := range shims {
		add(shim)
	}
	return found
}

// isShim recognises "containerd-shim-runc-v2 -namespace k8s.io -id ID -address SOCKET".
func isShim(args []string, socket string) bool {
	if len(args) == 0 || !strings.HasPrefix(filepath.Base(args[0]), "containerd-shim-") {
		return false
	}
	for i, arg := range args[1:] {
		if arg == "-address" && i+2 < len(args) && args[i+2] == socket {
			return true
		}
	}
	return false
}
