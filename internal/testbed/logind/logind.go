package logind

import (
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	name    = "org.freedesktop.login1"
	manager = name + ".Manager"
	path    = dbus.ObjectPath("/org/freedesktop/login1")
	systemd = "org.freedesktop.systemd1"
)

// Lock is what somebody asked for with Inhibit.
type Lock struct{ What, Who, Why, Mode string }

// Logind stands in for systemd-logind on a bus, as far as shutdowns go. It keeps its locks when it leaves the bus, as the real one
// does, but not its settings.
type Logind struct {
	conn *dbus.Conn
	done chan struct{}
	// reload is called when it is told to read its configuration again; it returns the new most delay. Set before Join.
	reload func() time.Duration

	mu    sync.Mutex
	down  bool
	most  time.Duration
	locks map[int]Lock
	taken []Lock
	next  int
	calls []string
}

// New makes a stand-in that lets locks delay shutdowns for so long, until reload, which may be nil, says otherwise.
func New(most time.Duration, reload func() time.Duration) *Logind {
	return &Logind{most: most, locks: map[int]Lock{}, reload: reload}
}

// Join brings it to a bus until the test ends, or Leave.
func (l *Logind) Join(t testing.TB, b *Bus) {
	t.Helper()
	conn, err := b.dial()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{name, systemd} {
		if r, err := conn.RequestName(n, dbus.NameFlagDoNotQueue); err != nil || r != dbus.RequestNameReplyPrimaryOwner {
			t.Fatalf("become %s on the bus: %v, %v", n, r, err)
		}
	}
	messages := make(chan *dbus.Message, 256)
	l.conn, l.done = conn, make(chan struct{})
	conn.Eavesdrop(messages)
	go func() {
		defer close(l.done)
		for m := range messages {
			if m.Type == dbus.TypeMethodCall {
				l.answer(conn, m)
			}
		}
	}()
	t.Cleanup(func() { l.Leave() })
}

// Leave takes it off the bus, if it is there.
func (l *Logind) Leave() {
	if l.conn == nil {
		return
	}
	_ = l.conn.Close()
	<-l.done
	l.conn = nil
}

// answer answers one call. Replies are sent by hand: a file descriptor must be closed here once it is on its way, and not before.
func (l *Logind) answer(conn *dbus.Conn, call *dbus.Message) {
	text := func(f dbus.HeaderField) string {
		s, _ := call.Headers[f].Value().(string)
		return s
	}
	reply := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: call.Headers[dbus.FieldSender], dbus.FieldReplySerial: dbus.MakeVariant(call.Serial()),
	}}
	fail := func(why string) {
		reply.Type = dbus.TypeError
		reply.Headers[dbus.FieldErrorName] = dbus.MakeVariant(why)
	}
	member := text(dbus.FieldMember)
	l.mu.Lock()
	l.calls = append(l.calls, member)
	switch {
	case member == "Inhibit" && l.down:
		fail("org.freedesktop.login1.OperationInProgress")
	case member == "Inhibit":
		var lock Lock
		if err := dbus.Store(call.Body, &lock.What, &lock.Who, &lock.Why, &lock.Mode); err != nil {
			fail("org.freedesktop.DBus.Error.InvalidArgs")
			break
		}
		fd, err := l.lock(lock)
		if err != nil {
			fail("org.freedesktop.DBus.Error.Failed")
			break
		}
		defer fd.Close()
		reply.Body = []any{dbus.UnixFD(fd.Fd())}
	case member == "Get" && len(call.Body) == 2 && call.Body[1] == "PreparingForShutdown":
		reply.Body = []any{dbus.MakeVariant(l.down)}
	case member == "Get" && len(call.Body) == 2 && call.Body[1] == "InhibitDelayMaxUSec":
		reply.Body = []any{dbus.MakeVariant(uint64(l.most / time.Microsecond))}
	case member == "KillUnit" && slices.Equal(call.Body, []any{"systemd-logind.service", "all", int32(syscall.SIGHUP)}):
		if l.reload != nil {
			l.most = l.reload()
		}
	default:
		fail("org.freedesktop.DBus.Error.UnknownMethod")
	}
	l.mu.Unlock()
	if len(reply.Body) > 0 {
		reply.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(reply.Body...))
	}
	conn.Send(reply, nil)
}

// lock keeps a lock until what it returns, and all copies of it, are closed. Call it with mu held.
func (l *Logind) lock(lock Lock) (*os.File, error) {
	mine, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	id := l.next
	l.next++
	l.locks[id], l.taken = lock, append(l.taken, lock)
	go func() {
		defer mine.Close()
		_, _ = mine.Read(make([]byte, 1)) // it ends when nobody holds the lock any more
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.locks, id)
	}()
	return theirs, nil
}

// Held are the locks that are held now.
func (l *Logind) Held() (held []Lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lock := range l.locks {
		held = append(held, lock)
	}
	return held
}

// Taken is how many locks were ever taken.
func (l *Logind) Taken() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.taken)
}

// Calls are the methods that were called, oldest first.
func (l *Logind) Calls() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// Announce says that the machine goes down, or does not after all.
func (l *Logind) Announce(t testing.TB, down bool) {
	t.Helper()
	l.Set(down)
	if err := l.conn.Emit(path, manager+".PrepareForShutdown", down); err != nil {
		t.Fatal(err)
	}
}

// Set is Announce, unheard.
func (l *Logind) Set(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
}
