package process

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errReadOnly is a write to a file system that is mounted read-only.
const errReadOnly = syscall.EROFS

// limits reads and sets how many files this process may have open.
type limits interface {
	get() (unix.Rlimit, error)
	set(unix.Rlimit) error
}

// RaiseOpenFiles lets this process have want files open (config maxOpenFiles); 0 leaves the limit as it is. The hard
// limit is raised if need be; lacking the right to do so, the process gets as many as that limit allows, and a warning.
// It does not change what programs are started with.
func RaiseOpenFiles(want int64) (warning string, err error) {
	return raiseOpenFiles(kernelLimits{}, want)
}

func raiseOpenFiles(l limits, want int64) (warning string, err error) {
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
	if err == nil || now.Max >= aim.Max || !lacksRight(err) {
		if err != nil {
			err = failed(err)
		}
		return "", err
	}
	warning = fmt.Sprintf("this process may have %d files open, not %d as maxOpenFiles says: more needs CAP_SYS_RESOURCE, and the sysctl fs.nr_open at least as large; as a service, set LimitNOFILE=%d", now.Max, want, want)
	if now.Cur == now.Max {
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

// set is the bare system call: after unix.Setrlimit, Go would no longer give started programs the limits this process
// was started with. Our own containerd would hand ours on to all containers, where old programs that close every
// possible file, one by one, would take minutes to start.
func (kernelLimits) set(l unix.Rlimit) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&l)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
