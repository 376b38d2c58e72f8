package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"
	"k8s.io/client-go/tools/remotecommand"
)

// terminal is this process's terminal, handed over to a command.
type terminal struct {
	file    *os.File
	before  *term.State
	resized chan os.Signal
	over    chan struct{}
	once    sync.Once
	asked   bool
}

// rawTerminal hands the terminal over: what is typed goes to the command as it is, Ctrl-C too.
func rawTerminal(in io.Reader) (*terminal, error) {
	file, ok := in.(*os.File)
	if !ok {
		return nil, errors.New("the input is no terminal")
	}
	before, err := term.MakeRaw(int(file.Fd()))
	if err != nil {
		return nil, fmt.Errorf("hand the terminal over: %w", err)
	}
	t := &terminal{file: file, before: before, resized: make(chan os.Signal, 1), over: make(chan struct{})}
	signal.Notify(t.resized, syscall.SIGWINCH)
	return t, nil
}

// restore takes the terminal back.
func (t *terminal) restore() {
	t.once.Do(func() {
		signal.Stop(t.resized)
		close(t.over)
		_ = term.Restore(int(t.file.Fd()), t.before)
	})
}

// Next returns the size of the terminal: at once the first time, later when it has changed; nil when it is over.
func (t *terminal) Next() *remotecommand.TerminalSize {
	if t.asked {
		select {
		case <-t.resized:
		case <-t.over:
			return nil
		}
	}
	t.asked = true
	width, height, err := term.GetSize(int(t.file.Fd()))
	if err != nil {
		return nil
	}
	return &remotecommand.TerminalSize{Width: uint16(width), Height: uint16(height)}
}
