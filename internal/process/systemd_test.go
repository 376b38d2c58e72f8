package process

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// systemd listens as systemd does.
func systemd(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	return conn
}

func hear(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	var buf [256]byte
	n, err := conn.Read(buf[:])
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestReadyAndStopping(t *testing.T) {
	conn := systemd(t)
	for want, say := range map[string]func() error{"READY=1": Ready, "STOPPING=1": Stopping} {
		if err := say(); err != nil {
			t.Error(err)
		}
		if got := hear(t, conn); got != want {
			t.Errorf("systemd heard %q, want %q", got, want)
		}
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	expect(t, "error", textOf(Ready()), "tell systemd READY=1: ")
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Ready(); err != nil {
		t.Errorf("without systemd: %v", err)
	}
}

func TestWatchdogSettings(t *testing.T) {
	for _, c := range []struct {
		title, usec, pid string
		want             time.Duration
		err              string
	}{
		{"338 not watched", "", "", 0, ""},
		{"338 half of the interval", "30000000", "", 15 * time.Second, ""},
		{"338 ours", "2000000", strconv.Itoa(os.Getpid()), time.Second, ""},
		{"338 of another process", "2000000", "1", 0, ""},
		{"338 shortest", "1000000", "", 500 * time.Millisecond, ""},
		{"338 too short", "999999", "", 0, "is 999.999ms: want WatchdogSec=1s or more"},
		{"338 no number", "soon", "", 0, "read the watchdog interval"},
		{"338 negative", "-5", "", 0, "positive"},
	} {
		t.Run(c.title, func(t *testing.T) {
			t.Setenv("WATCHDOG_USEC", c.usec)
			t.Setenv("WATCHDOG_PID", c.pid)
			w, err := NewWatchdog(func() error { return nil }, slog.New(slog.DiscardHandler))
			expect(t, "error", textOf(err), c.err)
			if err == nil && w.every != c.want {
				t.Errorf("every %v, want %v", w.every, c.want)
			}
		})
	}
}

func TestWatchdogIsHeardBySystemd(t *testing.T) {
	conn := systemd(t)
	t.Setenv("WATCHDOG_USEC", "3600000000")
	w, err := NewWatchdog(func() error { return nil }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	if got := hear(t, conn); got != "WATCHDOG=1" {
		t.Errorf("systemd heard %q", got)
	}
	cancel()
	if err := soon(t, "watchdog", ended); err != nil {
		t.Error(err)
	}
}

// patient is an agent with a watchdog, and the systemd that listens to it.
type patient struct {
	mu         sync.Mutex
	sick, deaf error
	told       int
	log        bytes.Buffer
}

func (p *patient) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(line)
}

func (p *patient) healthy() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sick
}

func (p *patient) hear(state string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deaf == nil && state == "WATCHDOG=1" {
		p.told++
	}
	return p.deaf
}

func (p *patient) becomes(sick, deaf error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sick, p.deaf = sick, deaf
}

// after lets time pass and holds against what has been told and logged since the beginning.
func (p *patient) after(t *testing.T, d time.Duration, told, lines int) {
	t.Helper()
	time.Sleep(d)
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if got := strings.Count(p.log.String(), "\n"); p.told != told || got != lines {
		t.Errorf("told %d times with %d lines in the log, want %d with %d:\n%s", p.told, got, told, lines, &p.log)
	}
}

func TestWatchdogSpeaksOnlyWhenWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &patient{}
		w := &Watchdog{every: 5 * time.Second, healthy: p.healthy, log: slog.New(slog.NewTextHandler(p, nil)), tell: p.hear}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		p.after(t, time.Second, 1, 0)
		p.after(t, 10*time.Second, 3, 0)
		p.becomes(errors.New("loop hangs"), nil)
		p.after(t, time.Minute, 3, 1)
		expect(t, "log", p.log.String(), "within=10s")
		expect(t, "log", p.log.String(), "loop hangs")
		p.becomes(nil, nil)
		p.after(t, 5*time.Second, 4, 2)
		p.becomes(nil, errors.New("no socket"))
		p.after(t, 10*time.Second, 4, 3)
		p.becomes(nil, nil)
		p.after(t, 5*time.Second, 5, 4)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestWatchdogWithoutSystemdOnlyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Watchdog{healthy: func() error { t.Error("asked"); return nil }}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		begun := time.Now()
		if err := w.Run(ctx); err != nil || time.Since(begun) != time.Hour {
			t.Errorf("ended after %v with %v", time.Since(begun), err)
		}
	})
}
