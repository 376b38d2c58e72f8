package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/bosun-project/bosun/internal/golden"
	"github.com/bosun-project/bosun/internal/serve"
)

// shared is a buffer for two goroutines.
type shared struct {
	mu      sync.Mutex
	text    strings.Builder
	written chan struct{}
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.written != nil {
		close(s.written)
		s.written = nil
	}
	return s.text.Write(p)
}

func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// wait waits until something was written.
func (s *shared) wait(t *testing.T, what string) {
	t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		s.mu.Lock()
		if strings.Contains(s.text.String(), what) {
			s.mu.Unlock()
			return
		}
		if s.written == nil {
			s.written = make(chan struct{})
		}
		written := s.written
		s.mu.Unlock()
		select {
		case <-written:
		case <-deadline:
			t.Fatalf("no %q in %q", what, s.String())
		}
	}
}

// stage is what a view looks at.
type stage struct {
	mu       sync.Mutex
	pods     []serve.Pod
	problems []serve.Problem
	pulls    serve.Pulls
	newer    chan struct{}
	looks    int
}

func (s *stage) Pods() ([]serve.Pod, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	return s.pods, s.newer
}

func (s *stage) Problems() []serve.Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.problems
}

func (s *stage) Pulls(context.Context) (serve.Pulls, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pulls, errors.New("bytes are not known")
}

// set changes it, and lets the view have its time.
func (s *stage) set(change func(*stage)) {
	s.mu.Lock()
	change(s)
	close(s.newer)
	s.newer = make(chan struct{})
	s.mu.Unlock()
	time.Sleep(time.Second)
	synctest.Wait()
}

func starting(name, summary string) serve.Pod {
	return serve.Pod{Namespace: "default", Name: name, UID: name, Status: "ContainerCreating", Containers: 1, Summary: summary}
}

func ready(name string) serve.Pod {
	return serve.Pod{Namespace: "default", Name: name, UID: name, Status: "Running", Ready: 1, Containers: 1, Settled: true, Summary: "is running: its container is ready"}
}

// play runs a view over a story and returns what it wrote, and how often it looked when nothing happened any more.
func play(t *testing.T, size func() (int, int, error)) (written string, idle int) {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		s := &stage{newer: make(chan struct{})}
		began := time.Now()
		view := &screen{out: &out, size: size, now: func() time.Time { return noon.Add(time.Since(began)) }}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); view.show(ctx, s) }()
		s.set(func(s *stage) {
			s.pods = []serve.Pod{starting("web", "is starting: getting the image of container app"), ready("other")}
			s.pulls = serve.Pulls{Pulls: []serve.Pull{{Image: "nginx:1.27"}}, Done: 12_300_000, Total: 54_000_000}
		})
		s.set(func(s *stage) { s.pulls.Done = 54_000_000 })
		s.set(func(s *stage) {
			s.pulls = serve.Pulls{}
			s.problems = []serve.Problem{{Origin: "/m/bad.yaml", Messages: []string{"line 3: unknown field"}}}
		})
		s.set(func(s *stage) { s.pods, s.problems = []serve.Pod{ready("web"), ready("other")}, nil })
		s.set(func(s *stage) { s.pods = []serve.Pod{ready("web")} })
		before := s.looks
		time.Sleep(time.Hour)
		synctest.Wait()
		idle = s.looks - before
		cancel()
		<-ended
	})
	return out.String(), idle
}

func TestShowAsLines(t *testing.T) {
	written, idle := play(t, nil)
	golden.File(t, "show.txt", []byte(written))
	if idle != 0 {
		t.Errorf("looked %d times at a node where nothing happens", idle)
	}
}

func TestShowAsPictures(t *testing.T) {
	written, idle := play(t, func() (int, int, error) { return 60, 10, nil })
	golden.File(t, "show-terminal.txt", []byte(strings.ReplaceAll(written, "\x1b", "ESC")))
	if idle != 0 {
		t.Errorf("looked %d times at a node where nothing happens", idle)
	}
	for line := range strings.Lines(written) {
		if i := strings.LastIndex(line, "\x1b[J"); i >= 0 {
			line = line[i+3:]
		}
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 59 {
			t.Errorf("a line of %d columns on a terminal of 60: %q", n, line)
		}
	}
}

// TestShowOfManyPods: where not all find room, those that need a look stay.
func TestShowOfManyPods(t *testing.T) {
	var out bytes.Buffer
	view := &screen{out: &out, size: func() (int, int, error) { return 80, 8, nil }, now: clock}
	pods := []serve.Pod{starting("slow", "is starting")}
	for range 20 {
		pods = append(pods, ready("fine"))
	}
	if err := view.draw(pods, nil, serve.Pulls{}); err != nil {
		t.Fatal(err)
	}
	want := "default/slow  0/1  ContainerCreating  is starting\nand 20 pods that are as they should be\n20 of 21 pods as they should be\n"
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", &out, want)
	}
}

func TestFit(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"short", "short"}, {"exactly te", "exactly te"}, {"eleven char", "eleven ch…"}, {"äöüäöüäöüäöü", "äöüäöüäöü…"},
		{"\x1b[32mgreen\x1b[0m and long", "\x1b[32mgreen\x1b[0m and…"}, {"\x1b[32mall of it green\x1b[0m", "\x1b[32mall of it…\x1b[0m"}, {"", ""},
	} {
		if got := fit(c.line, 10); got != c.want {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
}

func TestPulling(t *testing.T) {
	pulls := func(n int, done, total int64) serve.Pulls {
		p := serve.Pulls{Done: done, Total: total}
		for range n {
			p.Pulls = append(p.Pulls, serve.Pull{Image: "nginx"})
		}
		return p
	}
	for _, c := range []struct {
		p    serve.Pulls
		want string
	}{
		{pulls(0, 0, 0), ""}, {pulls(1, 0, 0), "pulling nginx"}, {pulls(5, 0, 0), "pulling nginx, nginx, nginx and 2 more"},
		{pulls(1, 500, 1000), "pulling nginx ██████████░░░░░░░░░░ 500 B of 1.0 kB"}, {pulls(1, 3_000_000_000, 2_000_000_000), "pulling nginx ████████████████████ 3.00 GB of 2.00 GB"},
	} {
		if got := pulling(c.p); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
