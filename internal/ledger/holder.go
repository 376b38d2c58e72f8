package ledger

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lock takes the file for this process. While another one has it, it is asked for again for a while: that one may be
// a Bosun on its way out.
func lock(file *os.File, wait time.Duration) error {
	const pause = 20 * time.Millisecond
	for until := time.Now().Add(wait); ; time.Sleep(pause) {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(until) {
			return err
		}
	}
}

// holder names the process that has locked a file, as far as the kernel tells.
func holder(path string) string {
	const unknown = "another process"
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return unknown
	}
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return unknown
	}
	defer locks.Close()
	pid := lockedBy(locks, uint64(st.Dev), st.Ino)
	if pid <= 0 { // of another PID namespace
		return unknown
	}
	comm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(comm)))
}

// lockedBy finds who has locked a file in the text of /proc/locks; zero if nobody has. A line reads
// "1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF"; one of a waiting process has "->" after the number.
func lockedBy(locks io.Reader, dev, inode uint64) int {
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(dev), unix.Minor(dev), inode)
	for lines := bufio.NewScanner(locks); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 6 || f[1] != "FLOCK" || f[5] != want {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil {
			return pid
		}
	}
	return 0
}
