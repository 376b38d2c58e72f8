package source

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
)

// podText is a manifest of one pod.
func podText(name, image string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata:\n  name: %s\nspec:\n  containers:\n  - name: app\n    image: %s\n", name, image)
}

// notebook keeps notes and the lines of the log.
type notebook struct {
	mu    sync.Mutex
	notes []note.Note
	lines []string
}

func (n *notebook) sink(one note.Note) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notes = append(n.notes, one)
}

func (n *notebook) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, string(b))
	return len(b), nil
}

func (n *notebook) all() []note.Note {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.notes)
}

func (n *notebook) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(n, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func (n *notebook) count(text string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, l := range n.lines {
		if strings.Contains(l, text) {
			count++
		}
	}
	return count
}

// desk drives a File by hand, with a clock of its own: the kernel queues events while a system call runs, so one turn
// after it has all of them, and nothing has to be waited for.
type desk struct {
	t    *testing.T
	dir  string
	f    *File
	now  time.Time
	book *notebook
	// local lets manifests hold more than pods.
	local bool
	// check looks at each snapshot.
	check func(Snapshot)
}

func newDesk(t *testing.T, path string) *desk {
	t.Helper()
	d := &desk{t: t, dir: path, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), book: &notebook{}}
	d.start(nil)
	return d
}

// start begins with a File that knows nothing, as after a restart of the agent.
func (d *desk) start(running func(types.UID) bool) {
	d.t.Helper()
	f, err := NewFile(FileConfig{Path: d.dir, NodeName: "n1", Log: d.book.log(), Notes: d.book.sink, Running: running, Objects: d.local})
	if err != nil {
		d.t.Fatal(err)
	}
	if f.inotify, err = newInotify(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := f.inotify.close(); err != nil {
			d.t.Error(err)
		}
	})
	d.f = f
	f.moved = true
	f.turn(d.now)
}

// turn lets the source work, a millisecond later.
func (d *desk) turn() Snapshot {
	d.t.Helper()
	return d.after(time.Millisecond)
}

// after lets the source work as often as it asks for within some time.
func (d *desk) after(passed time.Duration) Snapshot {
	d.t.Helper()
	end := d.now.Add(passed)
	for rounds := 0; ; rounds++ {
		wake := d.now.Add(d.f.sleep(d.now))
		if wake.After(end) || rounds > 100000 {
			break
		}
		d.now = wake
		d.step()
		if d.f.sleep(d.now) == 0 {
			d.step()
			if d.f.sleep(d.now) == 0 {
				d.t.Fatal("the source wants to go on without end")
			}
		}
	}
	d.now = end
	return d.step()
}

func (d *desk) step() Snapshot {
	d.f.turn(d.now)
	s := d.f.Cell().Value()
	if d.check != nil {
		d.check(s)
	}
	return s
}

func (d *desk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *desk) write(name, text string) {
	d.t.Helper()
	ok(d.t, os.WriteFile(d.path(name), []byte(text), 0o644))
}

// replace writes a temporary file and moves it into place.
func (d *desk) replace(name, text string) {
	d.t.Helper()
	d.write("."+name+".tmp", text)
	ok(d.t, os.Rename(d.path("."+name+".tmp"), d.path(name)))
}

func (d *desk) open(name string, flags int) *os.File {
	d.t.Helper()
	file, err := os.OpenFile(d.path(name), flags, 0o644)
	ok(d.t, err)
	return file
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// images shows a snapshot as "name=image", sorted.
func images(s Snapshot) string {
	var out []string
	for _, d := range s.Pods {
		out = append(out, strings.TrimSuffix(d.Pod.Name, "-n1")+"="+d.Pod.Spec.Containers[0].Image)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func want(t *testing.T, s Snapshot, pods string) {
	t.Helper()
	if got := images(s); got != pods {
		t.Fatalf("wanted pods %q: want %q; problems %+v", got, pods, s.Problems)
	}
}

func wantProblem(t *testing.T, s Snapshot, parts ...string) {
	t.Helper()
	if len(s.Problems) != 1 {
		t.Fatalf("problems %+v: want one", s.Problems)
	}
	for _, part := range parts {
		if text := s.Problems[0].Origin + ": " + strings.Join(s.Problems[0].Messages, "; "); !strings.Contains(text, part) {
			t.Errorf("problem %q: want it to say %q", text, part)
		}
	}
}

func noProblem(t *testing.T, s Snapshot) {
	t.Helper()
	if len(s.Problems) > 0 {
		t.Fatalf("problems %+v: want none", s.Problems)
	}
}

// one returns the only pod.
func one(t *testing.T, s Snapshot) *pod.Desired {
	t.Helper()
	if len(s.Pods) != 1 {
		t.Fatalf("%d pods: want 1; problems %+v", len(s.Pods), s.Problems)
	}
	return slices.Collect(maps.Values(s.Pods))[0]
}

// until waits for a snapshot that is as it should be.
func until(t *testing.T, cell *latest.Cell[Snapshot], what string, good func(Snapshot) bool) Snapshot {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		s, newer := cell.Get()
		if good(s) {
			return s
		}
		select {
		case <-newer:
		case <-deadline:
			t.Fatalf("no snapshot with %s; last: ready %v, pods %q, problems %+v", what, s.Ready, images(s), s.Problems)
		}
	}
}
