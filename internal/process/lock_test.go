package process

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const patience = 20 * time.Second

// soon waits for an event.
func soon[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("%s: nothing within %v", what, patience)
	}
	return v
}

func acquire(t *testing.T, path string, watched bool) *Lock {
	t.Helper()
	l, err := Acquire(t.Context(), path, LockOptions{ExitOnContention: watched, Waiting: func() { t.Error("has to wait") }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	return l
}

// background takes the lock in a goroutine: waiting tells that it has to wait, got what it ended with.
func background(ctx context.Context, path string, watched bool) (waiting chan struct{}, got chan error, lock **Lock) {
	waiting, got, lock = make(chan struct{}, 1), make(chan error, 1), new(*Lock)
	go func() {
		l, err := Acquire(ctx, path, LockOptions{ExitOnContention: watched, Waiting: func() { waiting <- struct{}{} }})
		*lock = l
		got <- err
	}()
	return waiting, got, lock
}

func watch(ctx context.Context, l *Lock) chan error {
	ended := make(chan error, 1)
	go func() { ended <- l.Watch(ctx) }()
	return ended
}

func TestLockWaitsForTheHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	holder := acquire(t, path, false)
	waiting, got, lock := background(t.Context(), path, true)
	soon(t, "second process waits", waiting)
	select {
	case err := <-got:
		t.Fatalf("two hold the lock (%v)", err)
	default:
	}
	holder.Release()
	if err := soon(t, "second process has the lock", got); err != nil {
		t.Fatal(err)
	}
	(*lock).Release()
	acquire(t, path, false)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("lock file: %v, %v", info, err)
	}
}

func TestLockWaitEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	holder := acquire(t, path, false)
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("told to stop")
	waiting, got, _ := background(ctx, path, false)
	soon(t, "second process waits", waiting)
	cancel(stopped)
	if err := soon(t, "second process gives up", got); !errors.Is(err, stopped) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	holder.Release()
	// What was left waiting gives the lock back at once.
	_, got, lock := background(t.Context(), path, false)
	if err := soon(t, "third process has the lock", got); err != nil {
		t.Fatal(err)
	}
	(*lock).Release()
}

func TestWatchTellsOfOthersWhoWantTheLock(t *testing.T) {
	for title, disturb := range map[string]func(path string) error{
		"opened":  func(path string) error { _, err := os.ReadFile(path); return err },
		"removed": os.Remove,
		"renamed": func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", nil, 0o600), os.Rename(path+".new", path))
		},
	} {
		t.Run(title, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "lock")
			l := acquire(t, path, true)
			if err := os.Chmod(path, 0o640); err != nil { // is told as well, and means nothing
				t.Fatal(err)
			}
			ended := watch(t.Context(), l)
			if err := disturb(path); err != nil {
				t.Fatal(err)
			}
			if err := soon(t, "watch", ended); !errors.Is(err, ErrContended) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWatchKnowsOfThoseWhoCameBeforeIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l := acquire(t, path, true)
	if _, err := os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if err := soon(t, "watch", watch(t.Context(), l)); !errors.Is(err, ErrContended) {
		t.Errorf("got %v", err)
	}
}

func TestWatchEndsWithTheContext(t *testing.T) {
	for _, watched := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "lock")
		l := acquire(t, path, watched)
		ctx, cancel := context.WithCancel(t.Context())
		ended := watch(ctx, l)
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			t.Errorf("watched %v: ended with %v though nobody wants the lock", watched, err)
		case <-time.After(20 * time.Millisecond): // only makes a wrong end likelier to be seen
		}
		cancel()
		if err := soon(t, "watch", ended); err != nil {
			t.Errorf("watched %v: got %v", watched, err)
		}
	}
}

// TestWaiterStartsAfresh has a third process come by while the second waits: when the second has the lock, that is past.
func TestWaiterStartsAfresh(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	holder := acquire(t, path, false)
	waiting, got, lock := background(t.Context(), path, true)
	soon(t, "second process waits", waiting)
	if _, err := os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	holder.Release()
	if err := soon(t, "second process has the lock", got); err != nil {
		t.Fatal(err)
	}
	defer (*lock).Release()
	ctx, cancel := context.WithCancel(t.Context())
	ended := watch(ctx, *lock)
	cancel()
	if err := soon(t, "watch", ended); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestLockFileReplacedWhileWaiting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	holder := acquire(t, path, false)
	waiting, got, lock := background(t.Context(), path, false)
	soon(t, "second process waits", waiting)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	holder.Release()
	if err := soon(t, "second process has the lock", got); err != nil {
		t.Fatal(err)
	}
	defer (*lock).Release()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("the file that others find is not locked (%v)", err)
	}
}

func TestWhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	l := acquire(t, path, true)
	failed := errors.New("agent failed")
	if err := l.While(t.Context(), func(context.Context) error { return failed }); !errors.Is(err, failed) || errors.Is(err, ErrContended) {
		t.Errorf("got %v", err)
	}
	running := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- l.While(t.Context(), func(ctx context.Context) error {
			close(running)
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}()
	soon(t, "the agent runs", running)
	if _, err := os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if err := soon(t, "the agent ends", ended); !errors.Is(err, ErrContended) {
		t.Errorf("got %v", err)
	}
}

func TestLockFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"a directory":           func(path string) error { return os.Mkdir(path, 0o755) },
		"must not be a symbol":  func(path string) error { return os.Symlink("/etc/passwd", path) },
		"must be a regular":     func(path string) error { return unix.Mkfifo(path, 0o600) },
		"no such file or direc": func(string) error { return nil },
	} {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "no such") {
			path = filepath.Join(path, "lock")
		}
		l, err := Acquire(t.Context(), path, LockOptions{})
		if err == nil {
			l.Release()
		}
		expect(t, "error", textOf(err), name)
		expect(t, "error", textOf(err), "take the lock file "+path)
	}
}

// TestLockOfADeadProcess kills the holder, a real process that is started from this test's program.
func TestLockOfADeadProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	holder := exec.Command(os.Args[0], "-test.run=^TestHolderProcess$")
	holder.Env = append(os.Environ(), "BOSUN_TEST_LOCK="+path)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1)
	go func() {
		s := bufio.NewScanner(out)
		s.Scan()
		lines <- s.Text()
	}()
	if line := soon(t, "the holder", lines); line != "held" {
		t.Fatalf("the holder says %q", line)
	}
	waiting, got, lock := background(t.Context(), path, false)
	soon(t, "second process waits", waiting)
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := soon(t, "second process has the lock", got); err != nil {
		t.Fatal(err)
	}
	(*lock).Release()
	if err := holder.Wait(); err == nil {
		t.Error("the holder ended by itself")
	}
}

// TestHolderProcess is the process that TestLockOfADeadProcess starts.
func TestHolderProcess(t *testing.T) {
	path := os.Getenv("BOSUN_TEST_LOCK")
	if path == "" {
		return // a usual run of the tests
	}
	acquire(t, path, true)
	fmt.Println("held")
	select {
	case <-t.Context().Done():
	case <-time.After(2 * patience):
	}
}

// FuzzInotifyEvents composes events of masks and names of some length, and cuts the last one short.
func FuzzInotifyEvents(f *testing.F) {
	f.Add([]byte{4, 0x20}, byte(0), byte(0))
	f.Add([]byte{4, 4, 8}, byte(16), byte(3))
	f.Add([]byte{0x20}, byte(0), byte(9))
	f.Fuzz(func(t *testing.T, masks []byte, name, cut byte) {
		var events []byte
		want := false
		for _, mask := range masks {
			var head [unix.SizeofInotifyEvent]byte
			binary.NativeEndian.PutUint32(head[4:], uint32(mask))
			binary.NativeEndian.PutUint32(head[12:], uint32(name))
			events = append(append(events, head[:]...), make([]byte, name)...)
			want = want || mask&unix.IN_OPEN != 0
		}
		if got := openedIn(events); got != want {
			t.Errorf("masks %x: opened %v", masks, got)
		}
		if openedIn(events[:max(0, len(events)-int(cut))]) && !want { // must not panic either
			t.Errorf("masks %x, cut: opened", masks)
		}
	})
}
