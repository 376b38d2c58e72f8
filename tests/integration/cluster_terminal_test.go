package integration

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A terminal is a program at a terminal of its own, and who sits there.
type terminal struct {
	t    *testing.T
	keys *os.File
	cmd  *exec.Cmd
	over chan error

	screen screen
}

// A screen holds what was printed so far.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// atTerminal starts a program at a new terminal of so many rows and columns.
func atTerminal(t *testing.T, rows, columns uint16, cmd *exec.Cmd) *terminal {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(keys.Fd())
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	side, err := os.OpenFile(fmt.Sprint("/dev/pts/", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer side.Close()
	term := &terminal{t: t, keys: keys, cmd: cmd, over: make(chan error, 1)}
	term.resize(rows, columns)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = side, side, side
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go term.watch()
	go func() { term.over <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has mostly ended
		keys.Close()
	})
	return term
}

// watch reads until nobody has the other side open any more.
func (term *terminal) watch() {
	_, _ = io.Copy(&term.screen, term.keys) // an error is how it ends
}

func (term *terminal) resize(rows, columns uint16) {
	term.t.Helper()
	if err := unix.IoctlSetWinsize(int(term.keys.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		term.t.Fatal(err)
	}
	if term.cmd.Process != nil {
		_ = term.cmd.Process.Signal(syscall.SIGWINCH) // if it has ended, what follows tells
	}
}

func (term *terminal) shown() string { return term.screen.String() }

// types sends keys.
func (term *terminal) types(keys string) {
	term.t.Helper()
	if _, err := term.keys.WriteString(keys); err != nil {
		term.t.Fatal(err)
	}
}

// untilShown waits for a text on the screen.
func (term *terminal) untilShown(text string) {
	term.t.Helper()
	eventually(term.t, func() error {
		if shown := term.shown(); !strings.Contains(shown, text) {
			return fmt.Errorf("the terminal does not show %q but:\n%s", text, shown)
		}
		return nil
	})
}

// untilOver waits for the end of the program and returns its exit code.
func (term *terminal) untilOver() int {
	term.t.Helper()
	select {
	case <-term.over:
	case <-deadline(term.t, patience).Done():
		term.t.Fatalf("the program at the terminal goes on; it shows:\n%s", term.shown())
	}
	return term.cmd.ProcessState.ExitCode()
}
