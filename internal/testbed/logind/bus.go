package logind

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// patience bounds what takes a moment.
const patience = 30 * time.Second

// Bus is a message bus.
type Bus struct {
	// Address is what DBUS_SYSTEM_BUS_ADDRESS must say.
	Address string

	dir string
	cmd *exec.Cmd
}

// NewBus prepares a bus that ends with the test. Nothing runs before Start.
func NewBus(t testing.TB) *Bus {
	t.Helper()
	dir, err := os.MkdirTemp("", "bus") // short: the path of a socket has little room
	if err != nil {
		t.Fatal(err)
	}
	b := &Bus{dir: dir, Address: "unix:path=" + filepath.Join(dir, "socket")}
	config := `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>` + b.Address + `</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow own="*"/><allow user="*"/><allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
`
	if err := os.WriteFile(filepath.Join(dir, "bus.conf"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Stop(t)
		_ = os.RemoveAll(dir)
	})
	return b
}

// Start runs the bus and returns when it listens.
func (b *Bus) Start(t testing.TB) {
	t.Helper()
	path, err := exec.LookPath("dbus-daemon")
	if err != nil {
		t.Fatalf("a message bus is needed (make deps installs it): %v", err)
	}
	var said strings.Builder
	b.cmd = exec.Command(path, "--config-file="+filepath.Join(b.dir, "bus.conf"), "--nofork", "--nopidfile")
	b.cmd.Stderr = &said
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := b.dial()
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			b.Stop(t)
			t.Fatalf("the bus does not come up: %v: %s", err, said.String())
		}
	}
}

func (b *Bus) dial(options ...dbus.ConnOption) (*dbus.Conn, error) {
	return dbus.Connect(b.Address, options...)
}

// Stop ends the bus, if it runs; all connections are lost.
func (b *Bus) Stop(t testing.TB) {
	t.Helper()
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait() // it was killed
	b.cmd = nil
	_ = os.Remove(strings.TrimPrefix(b.Address, "unix:path="))
}

// Until waits until something is so.
func Until(t testing.TB, what string, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", patience, what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
