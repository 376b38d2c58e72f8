package systemd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/godbus/dbus/v5"
)

// Names on the bus.
const (
	loginName    = "org.freedesktop.login1"
	loginPath    = "/org/freedesktop/login1"
	loginManager = loginName + ".Manager"
	announcement = "PrepareForShutdown"

	busName      = "org.freedesktop.DBus"
	ownerChanged = "NameOwnerChanged"

	systemd        = "org.freedesktop.systemd1"
	systemdPath    = "/org/freedesktop/systemd1"
	systemdManager = systemd + ".Manager"
)

// Session is one connection to the bus, with logind listening. It is good until Gone.
type Session struct {
	conn    *dbus.Conn
	cancel  context.CancelFunc
	dropIns string
	// patience bounds each call.
	patience time.Duration
	signals  chan *dbus.Signal
	told     chan bool
	gone     chan struct{}
	pumped   chan struct{}
}

// Connect connects to the system bus and begins to listen to logind. The session ends with ctx, at the latest.
func Connect(ctx context.Context, c Config) (*Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	watchdog := time.AfterFunc(c.patience(), cancel) // a bus that accepts and then says nothing
	defer watchdog.Stop()
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("connect to the system bus: %w", err)
	}
	s := &Session{
		conn: conn, cancel: cancel, dropIns: c.dropIns(), patience: c.patience(), signals: make(chan *dbus.Signal, 16),
		told: make(chan bool, 16), gone: make(chan struct{}), pumped: make(chan struct{}),
	}
	conn.Signal(s.signals)
	go s.pump()
	if err := s.listen(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("listen to logind on the system bus: %w", err), s.Close())
	}
	return s, nil
}

func (s *Session) listen(ctx context.Context) error {
	err := s.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(loginName), dbus.WithMatchObjectPath(loginPath),
		dbus.WithMatchInterface(loginManager), dbus.WithMatchMember(announcement))
	if err != nil {
		return err
	}
	return s.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(busName), dbus.WithMatchInterface(busName),
		dbus.WithMatchMember(ownerChanged), dbus.WithMatchArg(0, loginName))
}

// pump sorts what the bus tells until the connection ends, or another logind is there.
func (s *Session) pump() {
	defer close(s.pumped)
	lost := false
	lose := func() {
		if !lost {
			lost = true
			close(s.gone)
		}
	}
	defer lose()
	for {
		var signal *dbus.Signal
		select {
		case signal = <-s.signals:
		case <-s.conn.Context().Done():
		}
		if signal == nil {
			return
		}
		switch signal.Name {
		case loginManager + "." + announcement:
			var down bool
			if dbus.Store(signal.Body, &down) == nil && !lost {
				s.told <- down
			}
		case busName + "." + ownerChanged:
			var name, before, after string
			if dbus.Store(signal.Body, &name, &before, &after) == nil && name == loginName && before != "" {
				lose() // who is there now may know nothing of what was said
			}
		}
	}
}

// Announcements tells each time that the machine is about to go down (true), or does not after all (false). It has room for
// more than a reader that is awake can fall behind.
func (s *Session) Announcements() <-chan bool { return s.told }

// Gone is closed when the bus has gone, or logind has been started anew: then another session is needed.
func (s *Session) Gone() <-chan struct{} { return s.gone }

// Close ends the session. Locks stay.
func (s *Session) Close() error {
	err := s.conn.Close()
	s.cancel()
	for { // the pump may be about to tell what nobody will read
		select {
		case <-s.told:
		case <-s.pumped:
			return err
		}
	}
}

func (s *Session) manager() dbus.BusObject { return s.conn.Object(loginName, loginPath) }

// property asks logind for one of its properties.
func property[T any](ctx context.Context, s *Session, name string) (value T, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	var got dbus.Variant
	err = s.manager().CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, loginManager, name).Store(&got)
	if err == nil {
		err = got.Store(&value)
	}
	if err != nil {
		err = fmt.Errorf("ask logind for %s: %w", name, err)
	}
	return value, err
}

// GoingDown tells whether the machine is about to go down already.
func (s *Session) GoingDown(ctx context.Context) (bool, error) {
	return property[bool](ctx, s, "PreparingForShutdown")
}

// MostDelay is how long logind lets locks delay a shutdown.
func (s *Session) MostDelay(ctx context.Context) (time.Duration, error) {
	most, err := property[uint64](ctx, s, "InhibitDelayMaxUSec")
	const longest = uint64(1<<63-1) / uint64(time.Microsecond)
	return time.Duration(min(most, longest)) * time.Microsecond, err
}

// Delay takes a lock that delays a shutdown until it is closed, or the most delay is over. It is not given while the
// machine is going down. who and why are for people (systemd-inhibit --list).
func (s *Session) Delay(ctx context.Context, who, why string) (io.Closer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	var fd dbus.UnixFD
	if err := s.manager().CallWithContext(ctx, loginManager+".Inhibit", 0, "shutdown", who, why, "delay").Store(&fd); err != nil {
		return nil, fmt.Errorf("take a lock of logind that delays shutdowns: %w", err)
	}
	return os.NewFile(uintptr(fd), "lock of logind"), nil
}
