package containerlog

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestChoresOf(t *testing.T) {
	for _, c := range []struct {
		title    string
		names    []string
		maxFiles int
		want     chores
	}{
		{"nothing there", []string{"0.log"}, 5, chores{}},
		{"newest are kept and compressed", []string{"0.log", "0.log.20240501-100000", "0.log.20240501-100010"}, 4,
			chores{pack: []string{"0.log.20240501-100010", "0.log.20240501-100000"}}},
		{"oldest go", []string{"0.log", "0.log.20240501-100000.gz", "0.log.20240501-100010.gz", "0.log.20240501-100020"}, 3,
			chores{pack: []string{"0.log.20240501-100020"}, remove: []string{"0.log.20240501-100010.gz", "0.log.20240501-100000.gz"}}},
		{"only two files", []string{"0.log", "0.log.20240501-100000"}, 2, chores{remove: []string{"0.log.20240501-100000"}}},
		{"left by a crash", []string{"0.log", "0.log.20240501-100000.gz.tmp"}, 5, chores{remove: []string{"0.log.20240501-100000.gz.tmp"}}},
		{"packed but not removed", []string{"0.log.20240501-100000", "0.log.20240501-100000.gz"}, 5, chores{remove: []string{"0.log.20240501-100000"}}},
		{"others' files", []string{"1.log", "1.log.20240501-100000", "0.log.bak", "10.log.20240501-100000"}, 2, chores{}},
	} {
		t.Run(c.title, func(t *testing.T) {
			got := choresOf("0.log", c.names, c.maxFiles)
			if !slices.Equal(got.remove, c.want.remove) || !slices.Equal(got.pack, c.want.pack) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestRotate(t *testing.T) {
	l := logOf(t, []byte("first\n"))
	path := filepath.Join(l.Dir, l.Name)
	for i, next := range []string{"second\n", "third\n", "fourth\n", "fifth\n"} {
		when := time.Date(2024, 5, 1, 10, 0, i, 0, time.UTC)
		if err := Rotate(t.Context(), l.Dir, l.Name, 3, when, func(context.Context) error { put(t, path, next); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"0.log": "fifth\n", "0.log.20240501-100003": "fourth\n", "0.log.20240501-100002.gz": "third\n"}
	if got := contents(t, filepath.Dir(path)); !same(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	info, err := os.Stat(path + ".20240501-100002.gz")
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode of the compressed file: %v (%v), want that of the log", info.Mode(), err)
	}
}

func TestRotateGivesTheNameBack(t *testing.T) {
	l := logOf(t, []byte("text\n"))
	dead := errors.New("the container is gone")
	err := Rotate(t.Context(), l.Dir, l.Name, 3, time.Now(), func(context.Context) error { return dead })
	if !errors.Is(err, dead) {
		t.Errorf("error %v, want %v", err, dead)
	}
	if got, want := contents(t, filepath.Join(l.Dir, "app")), map[string]string{"0.log": "text\n"}; !same(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	err = Rotate(t.Context(), l.Dir, l.Name, 3, time.Date(2024, 5, 1, 10, 0, 0, 0, time.UTC), func(context.Context) error {
		put(t, filepath.Join(l.Dir, l.Name), "new\n") // reopened, and failed later
		return dead
	})
	if !errors.Is(err, dead) {
		t.Errorf("error %v, want %v", err, dead)
	}
	if got, want := contents(t, filepath.Join(l.Dir, "app")), map[string]string{"0.log": "new\n", "0.log.20240501-100000": "text\n"}; !same(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var from io.Reader = f
		if strings.HasSuffix(e.Name(), packed) {
			if from, err = gzip.NewReader(f); err != nil {
				t.Fatal(err)
			}
		}
		text, err := io.ReadAll(from)
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name()] = string(text)
	}
	return got
}

func same(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, text := range a {
		if b[name] != text {
			return false
		}
	}
	return true
}

func TestDue(t *testing.T) {
	sizes := map[string]int64{"small": 10, "limit": 20, "large": 21}
	got := due([]Target{{ID: "small"}, {ID: "limit"}, {ID: "large"}, {ID: "absent"}}, func(t Target) int64 { return sizes[t.ID] }, 20)
	if len(got) != 1 || got[0].ID != "large" {
		t.Errorf("due: %v, want only the one larger than the limit", got)
	}
}

type reopener func(id string) error

func (r reopener) ReopenContainerLog(_ context.Context, id string) error { return r(id) }

// TestRotatorRotatesWhatIsTooLarge holds behaviour 263: every 10 s, only running containers, failures said once.
func TestRotatorRotatesWhatIsTooLarge(t *testing.T) {
	small, large, broken := logOf(t, []byte("x")), logOf(t, []byte("0123456789x")), logOf(t, []byte("0123456789x"))
	target := func(id string, l Log) Target { return Target{ID: id, Dir: l.Dir, Name: l.Name} }
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		calls := map[string][]time.Duration{}
		reopen := reopener(func(id string) error {
			calls[id] = append(calls[id], time.Since(began))
			if id == "broken" {
				return errors.New("no")
			}
			put(t, filepath.Join(large.Dir, large.Name), "0123456789x")
			return nil
		})
		var told strings.Builder
		first, none := make(chan struct{}), true
		r := NewRotator(RotatorConfig{
			Targets: func() ([]Target, <-chan struct{}) {
				if none {
					return nil, first
				}
				return []Target{target("small", small), target("large", large), target("broken", broken), {ID: "gone", Dir: "/nonexistent", Name: "x"}}, make(chan struct{})
			},
			Runtime: reopen, MaxSize: 10, MaxFiles: 3, Log: slog.New(slog.NewTextHandler(&told, nil)),
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		time.Sleep(time.Hour) // nothing runs: nothing is looked at
		synctest.Wait()
		none = false
		close(first)
		time.Sleep(25 * time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		want := []time.Duration{time.Hour, time.Hour + 10*time.Second, time.Hour + 20*time.Second}
		if !slices.Equal(calls["large"], want) || !slices.Equal(calls["broken"], want) || len(calls) != 2 {
			t.Errorf("reopened %v, want large and broken at %v", calls, want)
		}
		if n := strings.Count(told.String(), "broken"); n != 1 {
			t.Errorf("the failure was said %d times, want once:\n%s", n, told.String())
		}
	})
}

func TestRotatorTurnedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRotator(RotatorConfig{MaxSize: -1, Targets: func() ([]Target, <-chan struct{}) { t.Error("asked for targets"); return nil, nil }})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
