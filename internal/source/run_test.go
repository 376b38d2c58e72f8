package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/latest"
)

// running starts a loop and makes sure that it ends, with all it started, when its context does.
func running(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run returned %v: want the context's error", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not return")
		}
	})
}

func runFile(t *testing.T, path string) (*latest.Cell[Snapshot], *notebook) {
	t.Helper()
	book := &notebook{}
	f, err := NewFile(FileConfig{Path: path, NodeName: "n1", Log: book.log(), Notes: book.sink})
	ok(t, err)
	running(t, f.Run)
	return f.Cell(), book
}

func TestRunFollowsADirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "manifests")
	cell, _ := runFile(t, dir)
	until(t, cell, "ready", func(s Snapshot) bool { return s.Ready })
	ok(t, os.Mkdir(dir, 0o755))
	path := filepath.Join(dir, "a.yaml")
	for round := range 20 {
		want := fmt.Sprintf("web=nginx:%d", round)
		ok(t, os.WriteFile(path, []byte(podText("web", fmt.Sprintf("nginx:%d", round))), 0o644))
		until(t, cell, want, func(s Snapshot) bool { return images(s) == want })
	}
	ok(t, os.WriteFile(path, []byte("kind: Pod\n"), 0o644))
	until(t, cell, "a problem", func(s Snapshot) bool { return len(s.Problems) == 1 && len(s.Pods) == 1 })
	ok(t, os.RemoveAll(dir))
	until(t, cell, "no pods", func(s Snapshot) bool { return len(s.Pods) == 0 && len(s.Problems) == 0 })
}

// TestLatency measures from the return of close to the reader of the cell. The budget is 2 ms of the source's own time;
// the median of many keeps a busy machine from failing the test.
func TestLatency(t *testing.T) {
	dir := t.TempDir()
	for i := range 50 {
		ok(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), []byte(podText(fmt.Sprintf("p%d", i), "i:1")), 0o644))
	}
	cell, _ := runFile(t, dir)
	until(t, cell, "50 pods", func(s Snapshot) bool { return len(s.Pods) == 50 })
	var took []time.Duration
	for i := range 50 {
		ok(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("new%d.yaml", i)), []byte(podText(fmt.Sprintf("new%d", i), "i:1")), 0o644))
		began := time.Now()
		until(t, cell, "one more", func(s Snapshot) bool { return len(s.Pods) == 51+i })
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	median := took[len(took)/2]
	t.Logf("median %s, most %s", median, took[len(took)-1])
	if median > 2*time.Millisecond*raceFactor {
		t.Errorf("median %s: want at most 2 ms", median)
	}
}

func TestRunLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	open := descriptors(t)
	for range 5 {
		t.Run("", func(t *testing.T) {
			cell, _ := runFile(t, t.TempDir())
			until(t, cell, "ready", func(s Snapshot) bool { return s.Ready })
		})
	}
	// A goroutine that has sent its last word may still be on its way out.
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before: want no more", runtime.NumGoroutine(), before)
		}
	}
	if after := descriptors(t); after > open {
		t.Errorf("%d open files, %d before: want no more", after, open)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	ok(t, err)
	return len(entries)
}

func TestPathIsNeeded(t *testing.T) {
	if _, err := NewFile(FileConfig{Log: (&notebook{}).log()}); err == nil {
		t.Error("no error: want one about the path")
	}
}

func BenchmarkPublishOneOf500(b *testing.B) {
	t := &testing.T{}
	dir := b.TempDir()
	for i := range 500 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), []byte(podText(fmt.Sprintf("p%d", i), "i:1")), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	d := &desk{t: t, dir: dir, now: time.Now(), book: &notebook{}}
	f, err := NewFile(FileConfig{Path: dir, NodeName: "n1", Log: d.book.log(), Notes: d.book.sink})
	if err != nil {
		b.Fatal(err)
	}
	if f.inotify, err = newInotify(); err != nil {
		b.Fatal(err)
	}
	defer f.inotify.close()
	f.moved = true
	f.turn(d.now)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		if err := os.WriteFile(filepath.Join(dir, "0.yaml"), []byte(podText("p0", fmt.Sprintf("i:%d", i))), 0o644); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		f.turn(d.now)
	}
}
