package cli

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
	"k8s.io/client-go/tools/remotecommand"
)

// newTerminal opens a pseudo terminal: person is the end a person would sit at, program that of a program.
func newTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	resize(t, person, 100, 30)
	return person, program
}

func resize(t *testing.T, person *os.File, width, height uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(person.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
}

func echoes(t *testing.T, program *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

func TestTerminalIsHandedOverAndTakenBack(t *testing.T) {
	person, program := newTerminal(t)
	term, err := rawTerminal(program)
	if err != nil {
		t.Fatal(err)
	}
	if echoes(t, program) {
		t.Error("the terminal still echoes")
	}
	if got := term.Next(); got == nil || *got != (remotecommand.TerminalSize{Width: 100, Height: 30}) {
		t.Errorf("size %v", got)
	}
	resize(t, person, 120, 40)
	term.resized <- syscall.SIGWINCH // the kernel tells only whose controlling terminal it is
	if got := term.Next(); got == nil || *got != (remotecommand.TerminalSize{Width: 120, Height: 40}) {
		t.Errorf("size %v", got)
	}
	term.restore()
	term.restore()
	if !echoes(t, program) {
		t.Error("the terminal was not taken back")
	}
	if got := term.Next(); got != nil {
		t.Errorf("a size after the end: %v", got)
	}
}

func TestExecWithATerminal(t *testing.T) {
	n := admin(t)
	person, program := newTerminal(t)
	out := &shared{}
	x := executing{asking: n.asking(), container: "app", stdin: true, tty: true, in: program, out: out, errs: new(bytes.Buffer)}
	ended := make(chan error, 1)
	go func() { ended <- x.run(t.Context(), "web", []string{"cat"}) }()
	out.wait(t, "tty=true")
	if _, err := person.WriteString("\x03typed"); err != nil { // Ctrl-C is the command's
		t.Fatal(err)
	}
	out.wait(t, "\x03typed")
	person.Close() // hangs up
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it did not end")
	}
}

func TestColourOnATerminal(t *testing.T) {
	_, program := newTerminal(t)
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	if !Colour(program) || !term.IsTerminal(int(program.Fd())) {
		t.Error("no colours on a terminal")
	}
	t.Setenv("NO_COLOR", "1")
	if Colour(program) {
		t.Error("colours in spite of NO_COLOR")
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if Colour(program) {
		t.Error("colours on a dumb terminal")
	}
}
