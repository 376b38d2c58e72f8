package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
)

// commits is how many commits the file has seen.
func commits(t *testing.T, l *Ledger) int {
	t.Helper()
	n := 0
	if err := l.db.View(func(tx *bbolt.Tx) error { n = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestWaitersShareOneCommit holds the group commit: whatever waits when the writer is free goes into one commit.
func TestWaitersShareOneCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bosun.db")
	synctest.Test(t, func(t *testing.T) {
		l := open(t, path, small)
		before := commits(t, l)
		var group sync.WaitGroup
		var failed atomic.Int32
		for i := range 50 {
			group.Go(func() {
				if l.Save(context.Background(), types.UID(fmt.Sprint("pod-", i)), fullRecord(i)) != nil {
					failed.Add(1)
				}
			})
		}
		synctest.Wait() // all of them wait for Run
		stop := run(t, l)
		group.Wait()
		if got := commits(t, l) - before; got != 1 || failed.Load() > 0 {
			t.Errorf("50 saves took %d commits, want 1; %d failed", got, failed.Load())
		}
		stop()
		if got, _ := load(t, l); !reflect.DeepEqual(got, many(50)) {
			t.Errorf("got %d records", len(got))
		}
		_ = l.Close()
	})
}

func TestSaveEndsWithItsContextAndWithRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bosun.db")
	synctest.Test(t, func(t *testing.T) {
		l := open(t, path, small)
		ctx, cancel := context.WithCancel(context.Background())
		got := make(chan error)
		go func() { got <- l.Save(ctx, "pod", fullRecord(1)) }()
		synctest.Wait()
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("before Run: %v", err)
		}
		stop := run(t, l)
		if err := l.Save(context.Background(), "pod", fullRecord(2)); err != nil {
			t.Error(err)
		}
		stop()
		if err := l.Save(context.Background(), "pod", fullRecord(3)); !errors.Is(err, errEnded) {
			t.Errorf("after Run: %v", err)
		}
		if err := l.Forget(context.Background(), "pod"); !errors.Is(err, errEnded) {
			t.Errorf("after Run: %v", err)
		}
		if pods, _ := load(t, l); !reflect.DeepEqual(pods, map[types.UID]plan.Record{"pod": fullRecord(2)}) {
			t.Errorf("kept %v", pods)
		}
		_ = l.Close()
	})
}

func TestImpossibleUIDsAreRefused(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "bosun.db"), small)
	for _, uid := range []types.UID{"", types.UID(strings.Repeat("x", longestUID+1))} {
		if err := l.Save(t.Context(), uid, fullRecord(1)); err == nil || !strings.Contains(err.Error(), "UID") {
			t.Errorf("%d bytes: %v", len(uid), err)
		}
	}
}

// TestWriterOutlivesAPanic holds that what bbolt thinks of a file spoilt under its feet is an error, not the agent's end.
func TestWriterOutlivesAPanic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bosun.db")
	l := open(t, path, small)
	stop := run(t, l)
	for uid, r := range many(30) {
		if err := l.Save(t.Context(), uid, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(path, int64(2*os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	if err := l.Save(t.Context(), "pod-1", fullRecord(5)); err == nil || !strings.Contains(err.Error(), "make no sense") {
		t.Errorf("got %v", err)
	}
	if err := l.Forget(t.Context(), "pod-1"); err == nil || !strings.Contains(err.Error(), "restart Bosun") {
		t.Errorf("later: %v", err)
	}
	stop()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if next := open(t, path, small); next.SetAside() == nil {
		t.Error("the next start should have set the file aside")
	}
}

// TestFullDisk holds that a full disk is a clear error that harms nothing, and that all is well once there is room.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("bosun-test", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	path, filler := filepath.Join(dir, "bosun.db"), filepath.Join(dir, "filler")
	l := open(t, path, Options{}) // the reserve does not fit: no error
	stop := run(t, l)
	if err := l.Save(t.Context(), "old", fullRecord(1)); err != nil {
		t.Fatal(err)
	}
	fill(t, filler)
	kept := map[types.UID]plan.Record{"old": fullRecord(1)}
	failures := 0
	for i := range 40 {
		uid := types.UID(fmt.Sprint("pod-", i))
		switch err := l.Save(t.Context(), uid, fullRecord(i)); {
		case err == nil:
			kept[uid] = fullRecord(i)
		case errors.Is(err, unix.ENOSPC) && strings.Contains(err.Error(), path):
			failures++
		default:
			t.Fatalf("a full disk should say so: %v", err)
		}
	}
	if failures == 0 {
		t.Fatal("the disk was never full")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for uid, r := range many(40) {
		if err := l.Save(t.Context(), uid, r); err != nil {
			t.Fatalf("there is room again: %v", err)
		}
		kept[uid] = r
	}
	stop()
	_ = l.Close()
	again := open(t, path, Options{})
	if got, bad := load(t, again); again.SetAside() != nil || bad != nil || !reflect.DeepEqual(got, kept) {
		t.Errorf("got %d records, want %d; bad %v, set aside %v", len(got), len(kept), bad, again.SetAside())
	}
	_ = again.Close()
}

// TestReserveOutlastsAFullDisk holds that the room taken at the start lets the node remember while the disk is full.
func TestReserveOutlastsAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("bosun-test", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	l := open(t, filepath.Join(dir, "bosun.db"), Options{})
	fill(t, filepath.Join(dir, "filler"))
	stop := run(t, l)
	for uid, r := range many(100) {
		if err := l.Save(t.Context(), uid, r); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	_ = l.Close()
}

// fill writes until there is no room.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for {
		if _, err := f.Write(make([]byte, 4096)); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
