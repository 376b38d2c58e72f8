package process

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// errReadOnly is a write to a file system that is mounted read-only.
const errReadOnly = syscall.EROFS

// limits reads and sets how many files this process may have open.
type limits interface {
	get() (unix.Rlimit, error)
	set(unix.Rlimit) error
}

// setOpenFiles lets this process have want files open (config maxOpenFiles); 0 leaves the limit as it is. The hard
// limit is raised if need be; lacking the right to do so, the process has as many as that limit allows, and there is a
// warning.
//
// Go raises the limit of its programs by itself, and gives those they start the one they had. That ends when a limit is
// set: then started programs inherit it, and so do containers if our own containerd is among them.
func setOpenFiles(l limits, want int64) (warning string, err error) {
	if want <= 0 {
		return "", nil
	}
	failed := func(err error) error { return fmt.Errorf("allow %d open files (maxOpenFiles): %w", want, err) }
	now, err := l.get()
	if err != nil {
		return "", failed(err)
	}
	aim := unix.Rlimit{Cur: uint64(want), Max: max(now.Max, uint64(want))}
	if aim == now {
		return "", nil
	}
	err = l.set(aim)
	if err == nil {
		return "", nil
	}
	if now.Max >= aim.Max || !lacksRight(err) {
		return "", failed(err)
	}
	warning = fmt.Sprintf("this process may have %d files open, not %d as maxOpenFiles says: more needs CAP_SYS_RESOURCE, and the sysctl fs.nr_open at least as large; as a service, set LimitNOFILE=%d", now.Max, want, want)
	if now.Cur+1 >= now.Max { // where Go has put it
		return warning, nil
	}
	if err := l.set(unix.Rlimit{Cur: now.Max, Max: now.Max}); err != nil {
		return "", failed(err)
	}
	return warning, nil
}

// kernelLimits are those of this process.
type kernelLimits struct{}

func (kernelLimits) get() (l unix.Rlimit, err error) {
	err = unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return l, err
}

// set does not use Setrlimit, after which started programs inherit the limit even if it failed.
func (kernelLimits) set(l unix.Rlimit) error { return unix.Prlimit(0, unix.RLIMIT_NOFILE, &l, nil) }
