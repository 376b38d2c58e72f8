package containerlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/safepath"
)

// shown is what a copy of a log with this content shows.
func shown(t *testing.T, content []byte, o Options) []byte {
	t.Helper()
	l := logOf(t, content)
	return copied(t, l, o)
}

func logOf(t *testing.T, content []byte) Log {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "app"), 0o755); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "app/0.log"), string(content))
	return Log{Dir: dir, Name: "app/0.log"}
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
}

func copied(t *testing.T, l Log, o Options) []byte {
	t.Helper()
	r, err := l.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out bytes.Buffer
	if err := r.Copy(t.Context(), &out, o); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const sample = `2024-05-01T10:00:00.1Z stdout F one
2024-05-01T10:00:01.2Z stderr F two
2024-05-01T10:00:02.3Z stdout P thr
2024-05-01T10:00:02.4Z stderr F between
2024-05-01T10:00:02.5Z stdout F ee
2024-05-01T10:00:03.6Z stdout F four
`

func number(n int64) *int64 { return &n }

func TestCopy(t *testing.T) {
	at := func(s string) time.Time {
		when, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	long := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		title, content string
		o              Options
		want           string
	}{
		{"all; parts are joined", sample, Options{}, "one\ntwo\nbetween\nthree\nfour\n"},
		{"times", sample, Options{Timestamps: true}, "2024-05-01T10:00:00.100000000Z one\n2024-05-01T10:00:01.200000000Z two\n" +
			"2024-05-01T10:00:02.400000000Z between\n2024-05-01T10:00:02.300000000Z three\n2024-05-01T10:00:03.600000000Z four\n"},
		{"one stream", sample, Options{Stream: Stderr}, "two\nbetween\n"},
		{"since", sample, Options{Since: at("2024-05-01T10:00:02.4Z")}, "between\nfour\n"},
		{"tail 0", sample, Options{Tail: number(0)}, ""},
		{"tail 1", sample, Options{Tail: number(1)}, "four\n"},
		{"tail 3 counts lines, not parts", strings.ReplaceAll(sample, "2024-05-01T10:00:02.4Z stderr F between\n", ""), Options{Tail: number(3)}, "two\nthree\nfour\n"},
		{"tail larger than the file", sample, Options{Tail: number(100)}, "one\ntwo\nbetween\nthree\nfour\n"},
		{"tail and since", sample, Options{Tail: number(1), Since: at("2025-01-01T00:00:00Z")}, ""},
		{"tail with the last line open", sample + "2024-05-01T10:00:04Z stdout P op\n2024-05-01T10:00:04Z stdout P en\n", Options{Tail: number(1)}, "open"},
		{"limit cuts mid-line", sample, Options{LimitBytes: 6}, "one\ntw"},
		{"limit counts times", sample, Options{LimitBytes: 33, Timestamps: true}, "2024-05-01T10:00:00.100000000Z on"},
		{"limit in what never ended", "2024-05-01T10:00:02.3Z stdout P thr\n", Options{LimitBytes: 2}, "th"},
		{"last line never ended", "2024-05-01T10:00:02.3Z stdout P thr\n", Options{}, "thr"},
		{"last physical line torn", sample + "2024-05-01T10:00:04Z stdout F to", Options{Tail: number(2)}, "four\nto"},
		{"head torn", sample + "2024-05-01T10:0", Options{Tail: number(2)}, "four\n"},
		{"empty lines", "2024-05-01T10:00:00Z stdout F \n2024-05-01T10:00:00Z stdout F \n", Options{}, "\n\n"},
		{"docker", `{"log":"a","stream":"stdout","time":"2024-05-01T10:00:00Z"}` + "\n" + `{"log":"b\n","stream":"stdout","time":"2024-05-01T10:00:00Z"}` + "\n", Options{}, "ab\n"},
		{"neither format", "hello\n" + sample, Options{LimitBytes: 10}, "hello\none\n"},
		{"no time to compare", "hello\n", Options{Since: at("2024-05-01T10:00:02.4Z")}, ""},
		{"longer than a block", "2024-05-01T10:00:00Z stdout F " + long + "\n2024-05-01T10:00:00Z stdout F end\n", Options{Tail: number(2)}, long + "\nend\n"},
		{"nothing", "", Options{Tail: number(5)}, ""},
	} {
		t.Run(c.title, func(t *testing.T) {
			if got := string(shown(t, []byte(c.content), c.o)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestCopyOfEndlessLines: lines beyond all bounds come out whole, without being held whole.
func TestCopyOfEndlessLines(t *testing.T) {
	long := strings.Repeat("0123456789", 250_000)
	for title, content := range map[string]string{
		"one physical line": "2024-05-01T10:00:00Z stdout F " + long + "\n",
		"many parts":        strings.Repeat("2024-05-01T10:00:00Z stdout P "+long[:100_000]+"\n", 25) + "2024-05-01T10:00:00Z stdout F \n",
	} {
		t.Run(title, func(t *testing.T) {
			got := string(shown(t, []byte(content), Options{Timestamps: true}))
			if want := "2024-05-01T10:00:00.000000000Z " + long + "\n"; got != want {
				t.Errorf("got %d bytes (%.40q…), want %d", len(got), got, len(want))
			}
		})
	}
}

// TestTailAgainstCounting compares tails of many files with lines counted from the front.
func TestTailAgainstCounting(t *testing.T) {
	for size := range 60 {
		var content strings.Builder
		var lines []string
		for i := range size {
			text := strings.Repeat("y", i*i*7%5000)
			fmt.Fprintf(&content, "2024-05-01T10:00:00Z stdout F %s\n", text)
			lines = append(lines, text+"\n")
		}
		for _, n := range []int{1, 2, size / 2, size} {
			want := strings.Join(lines[max(0, size-n):], "")
			if got := string(shown(t, []byte(content.String()), Options{Tail: number(int64(n))})); got != want {
				t.Fatalf("tail %d of %d lines: %d bytes, want %d", n, size, len(got), len(want))
			}
		}
	}
}

func TestOpenRefusesLinks(t *testing.T) {
	l := logOf(t, nil)
	secret := filepath.Join(t.TempDir(), "secret")
	put(t, secret, "secret\n")
	if err := os.Symlink(secret, filepath.Join(l.Dir, "app/1.log")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"app/1.log": safepath.ErrUnsafe, "../x": safepath.ErrUnsafe, "app/2.log": fs.ErrNotExist, "app": safepath.ErrNotRegular,
	} {
		r, err := Log{Dir: l.Dir, Name: name}.Open()
		if err == nil {
			r.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("open %s: %v, want %v", name, err, want)
		}
	}
}

// container is a container that writes a log, as seen by a reader that follows it.
type container struct {
	t    *testing.T
	path string
	file *os.File

	mu      sync.Mutex
	dead    bool
	changed chan struct{}
}

func (c *container) alive() (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.dead, c.changed
}

func (c *container) die() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
	close(c.changed)
}

func (c *container) write(text string) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.file, "2024-05-01T10:00:00Z stdout F %s\n", text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *container) reopen(context.Context) error {
	old := c.file
	defer old.Close()
	var err error
	c.file, err = os.OpenFile(c.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	return err
}

// lines hands on what a follower shows, line by line.
type lines struct {
	t    *testing.T
	got  chan string
	rest string
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest += string(p)
	for {
		line, rest, ok := strings.Cut(l.rest, "\n")
		if !ok {
			return len(p), nil
		}
		l.rest = rest
		l.got <- line
	}
}

func (l *lines) want(text string) {
	l.t.Helper()
	select {
	case got := <-l.got:
		if got != text {
			l.t.Fatalf("got line %q, want %q", got, text)
		}
	case <-time.After(10 * time.Second):
		l.t.Fatalf("no line after 10 s, want %q", text)
	}
}

func follow(t *testing.T, ctx context.Context) (*container, *lines, <-chan error) {
	t.Helper()
	l := logOf(t, nil)
	c := &container{t: t, path: filepath.Join(l.Dir, l.Name), changed: make(chan struct{})}
	if err := c.reopen(ctx); err != nil {
		t.Fatal(err)
	}
	l.Alive = c.alive
	r, err := l.Open()
	if err != nil {
		t.Fatal(err)
	}
	out := &lines{t: t, got: make(chan string, 100)}
	ended := make(chan error, 1)
	go func() {
		defer r.Close()
		ended <- r.Copy(ctx, out, Options{Follow: true})
	}()
	t.Cleanup(func() { c.file.Close() })
	return c, out, ended
}

func wantEnd(t *testing.T, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the follower did not end")
	}
}

func TestFollowSurvivesRotationAndEndsWithTheContainer(t *testing.T) {
	c, out, ended := follow(t, t.Context())
	c.write("one")
	out.want("one")
	for i := range 3 {
		when := time.Date(2024, 5, 1, 10, 0, i, 0, time.UTC)
		err := Rotate(t.Context(), filepath.Dir(filepath.Dir(c.path)), "app/0.log", 3, when, func(ctx context.Context) error {
			c.write("written between renaming and reopening")
			return c.reopen(ctx)
		})
		if err != nil {
			t.Fatal(err)
		}
		out.want("written between renaming and reopening")
		c.write(fmt.Sprint("after rotation ", i))
		out.want(fmt.Sprint("after rotation ", i))
	}
	c.write("last words")
	c.die()
	out.want("last words")
	wantEnd(t, ended)
}

func TestFollowSeesLateWritesToTheOldFile(t *testing.T) {
	c, out, ended := follow(t, t.Context())
	old := c.file
	if err := os.Rename(c.path, c.path+".20240501-100000"); err != nil {
		t.Fatal(err)
	}
	next, err := os.OpenFile(c.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	c.file = next
	c.write("new")
	out.want("new")
	c.file = old
	c.write("late")
	out.want("late")
	c.die()
	wantEnd(t, ended)
}

func TestFollowReadsATruncatedFileAnew(t *testing.T) {
	c, out, ended := follow(t, t.Context())
	c.write("one, and this is long")
	out.want("one, and this is long")
	if err := c.file.Truncate(0); err != nil {
		t.Fatal(err)
	}
	c.write("two")
	out.want("two")
	c.die()
	wantEnd(t, ended)
}

func TestFollowEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c, out, ended := follow(t, ctx)
	c.write("one")
	out.want("one")
	cancel()
	wantEnd(t, ended)
}

// TestFollowWithoutInotify: where the kernel has no instance left, the log is looked at from time to time.
func TestFollowWithoutInotify(t *testing.T) {
	w := &watch{happened: make(chan struct{}, 1)}
	began := time.Now()
	if err := w.wait(t.Context(), nil); err != nil || time.Since(began) < lookEvery {
		t.Errorf("waited %v (%v), want %v", time.Since(began), err, lookEvery)
	}
	w.close()
}
