package systemd

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/testbed/logind"
)

// joined is a session with a stand-in for logind on a real bus.
func joined(t *testing.T, reload func() time.Duration) (*logind.Bus, *logind.Logind, *Session, string) {
	t.Helper()
	bus, machine := logind.NewBus(t), logind.New(5*time.Second, reload)
	bus.Start(t)
	machine.Join(t, bus)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.Address)
	root := t.TempDir()
	return bus, machine, connect(t, root), root
}

func connect(t *testing.T, root string) *Session {
	t.Helper()
	s, err := Connect(t.Context(), Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // it may have lost its bus
	return s
}

func await[T any](t *testing.T, what string, c <-chan T) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("not within 30 s: %s", what)
	}
	return got
}

func TestDelay(t *testing.T) {
	_, machine, s, _ := joined(t, nil)
	lock, err := s.Delay(t.Context(), "kubelet", "pods need time")
	if err != nil {
		t.Fatal(err)
	}
	want := []logind.Lock{{What: "shutdown", Who: "kubelet", Why: "pods need time", Mode: "delay"}}
	if held := machine.Held(); !slices.Equal(held, want) {
		t.Errorf("logind has the locks %v, want %v", held, want)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if held := machine.Held(); len(held) != 1 {
		t.Errorf("with the end of the session the lock went: %v", held)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	logind.Until(t, "the lock is free", func() bool { return len(machine.Held()) == 0 })
}

func TestAnnouncements(t *testing.T) {
	_, machine, s, _ := joined(t, nil)
	for _, down := range []bool{true, false, true} {
		machine.Announce(t, down)
		if got := await(t, "an announcement", s.Announcements()); got != down {
			t.Errorf("announced is %v, want %v", got, down)
		}
		if got, err := s.GoingDown(t.Context()); got != down || err != nil {
			t.Errorf("asked, logind says %v (%v), want %v", got, err, down)
		}
	}
	var lock io.Closer
	var err error
	if lock, err = s.Delay(t.Context(), "kubelet", "too late"); err == nil {
		t.Error("a lock was given while the machine goes down: ", lock.Close())
	}
}

func TestAllowDelay(t *testing.T) {
	_, machine, s, root := joined(t, func() time.Duration { return 31 * time.Second })
	if got, err := s.MostDelay(t.Context()); got != 5*time.Second || err != nil {
		t.Errorf("the most delay is %v (%v), want 5s", got, err)
	}
	if err := s.AllowDelay(t.Context(), 30*time.Second+time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if got, err := s.MostDelay(t.Context()); got != 31*time.Second || err != nil {
		t.Errorf("the most delay is %v (%v), want 31s", got, err)
	}
	dir := filepath.Join(root, "etc/systemd/logind.conf.d")
	text, err := os.ReadFile(filepath.Join(dir, "99-kubelet.conf"))
	if err != nil || !strings.HasSuffix(string(text), "\n[Login]\nInhibitDelayMaxSec=31\n") {
		t.Errorf("the drop-in file says %q (%v)", text, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "99-kubelet.conf")); err != nil || info.Mode() != 0o644 {
		t.Errorf("the drop-in file is %v (%v)", info, err)
	}
	if err := s.AllowDelay(t.Context(), 31*time.Second); err != nil { // it says so already
		t.Error(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("the directory has %v (%v), want the drop-in file alone", files, err)
	}
	if n := strings.Count(strings.Join(machine.Calls(), " "), "KillUnit"); n != 2 {
		t.Errorf("logind was told to read its configuration %d times, want 2", n)
	}
}

// A directory that cannot be written is said, with its name.
func TestAllowDelayReadOnly(t *testing.T) {
	_, _, s, root := joined(t, nil)
	if err := os.WriteFile(filepath.Join(root, "etc"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.AllowDelay(t.Context(), time.Minute); err == nil || !strings.Contains(err.Error(), "/etc") {
		t.Errorf("the error is %v", err)
	}
}

func TestGone(t *testing.T) {
	bus, machine, s, root := joined(t, nil)
	machine.Leave()
	await(t, "logind has left", s.Gone())
	machine.Join(t, bus)
	s = connect(t, root)
	bus.Stop(t)
	await(t, "the bus has gone", s.Gone())
	if _, err := s.GoingDown(t.Context()); err == nil {
		t.Error("a bus that is gone answers")
	}
	if _, err := Connect(t.Context(), Config{}); err == nil || !strings.Contains(err.Error(), "connect to the system bus") {
		t.Errorf("connecting to no bus: %v", err)
	}
	bus.Start(t)
	machine.Leave()
	s = connect(t, root) // the bus alone
	if _, err := s.MostDelay(t.Context()); err == nil || !strings.Contains(err.Error(), "logind") {
		t.Errorf("asking a logind that is not there: %v", err)
	}
}

// A bus that takes connections and says nothing is given up.
func TestSilentBus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	silent, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+path)
	if _, err := Connect(t.Context(), Config{Patience: 50 * time.Millisecond}); err == nil {
		t.Error("a silent bus was connected to")
	}
}
