package podfs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
)

func TestTermination(t *testing.T) {
	f, dir := world(t)
	p := podOf("app")
	path, err := f.Termination(t.Context(), p, "app", 10)
	if want := filepath.Join(dir, "state/pods/uid-1/containers/app/0000000a"); err != nil || path != want {
		t.Fatalf("path %s, %v, want %s", path, err, want)
	}
	if got := mode(t, path); got != 0o666 {
		t.Errorf("mode %v, want 0666", got)
	}
	write(t, path, "of a start that failed")
	if _, err := f.Termination(t.Context(), p, "app", 10); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); len(got) != 0 {
		t.Errorf("an old message is left: %q", got)
	}
	foreign := filepath.Join(filepath.Dir(path), "notes")
	write(t, foreign, "")
	for attempt := uint32(11); attempt < 13; attempt++ {
		if _, err := f.Termination(t.Context(), p, "app", attempt); err != nil {
			t.Fatal(err)
		}
	}
	if exists(path) || !exists(filepath.Join(filepath.Dir(path), "0000000b")) || !exists(foreign) {
		t.Error("just the files before the last attempt should go")
	}
}

func TestEnd(t *testing.T) {
	f, dir := world(t)
	p := podOf("app", "side")
	log := filepath.Join(dir, "logs/default_web_uid-1/app/3.log")
	write(t, log, "2026-01-02T15:04:05.1Z stdout F one\n2026-01-02T15:04:05.2Z stderr F two\n")
	for name, c := range map[string]struct {
		file   string
		policy v1.TerminationMessagePolicy
		code   int32
		reason string
		want   string
	}{
		"file":                   {file: "bye", want: "bye"},
		"file goes before log":   {file: "bye", policy: v1.TerminationMessageFallbackToLogsOnError, code: 1, want: "bye"},
		"no message":             {code: 1},
		"log":                    {policy: v1.TerminationMessageFallbackToLogsOnError, code: 1, want: "one\ntwo\n"},
		"no log after success":   {policy: v1.TerminationMessageFallbackToLogsOnError},
		"no log if it never ran": {policy: v1.TerminationMessageFallbackToLogsOnError, code: 128, reason: "ContainerCannotRun"},
		"the end of a long file": {file: strings.Repeat("x", 5000) + "end", want: strings.Repeat("x", 4093) + "end"},
		"cut in a character":     {file: strings.Repeat("é", 3000) + "e", want: "?" + strings.Repeat("é", 2047) + "e"},
	} {
		path, err := f.Termination(t.Context(), p, "app", 3)
		if err != nil {
			t.Fatal(err)
		}
		write(t, path, c.file)
		spec := &v1.Container{Name: "app", TerminationMessagePolicy: c.policy}
		got, err := f.End(t.Context(), p, spec, pod.Container{Name: "app", Attempt: 3, ExitCode: c.code, Reason: c.reason, LogPath: log})
		if err != nil || got != c.want || !utf8.ValidString(got) {
			t.Errorf("%s: %.40q… of %d bytes, %v", name, got, len(got), err)
		}
	}
}

func TestEndOfStrangers(t *testing.T) {
	f, dir := world(t)
	p := podOf("app")
	c := &v1.Container{Name: "app", TerminationMessagePolicy: v1.TerminationMessageFallbackToLogsOnError}
	ended := pod.Container{Name: "app", Attempt: 1, ExitCode: 1, LogPath: filepath.Join(dir, "logs/default_web_uid-1/app/1.log")}
	if got, err := f.End(t.Context(), p, c, ended); got != "" || err != nil {
		t.Errorf("nothing on disk: %q, %v", got, err)
	}
	ended.LogPath = "/etc/passwd"
	if got, err := f.End(t.Context(), p, c, ended); got != "" || err == nil {
		t.Errorf("a log elsewhere: %q, %v", got, err)
	}
	upstream := filepath.Join(dir, "state/pods/uid-1/containers/app/5f3c9e21") // the name is random there
	write(t, upstream, "made by the upstream kubelet")
	if got, err := f.End(t.Context(), p, c, ended); got != "made by the upstream kubelet" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.Remove(upstream); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(filepath.Dir(upstream), "00000001")); err != nil {
		t.Fatal(err)
	}
	if got, err := f.End(t.Context(), p, c, ended); got != "" || err == nil {
		t.Errorf("through a link: %.20q, %v", got, err)
	}
}

func TestMessageLimit(t *testing.T) {
	for n, want := range map[int]int{0: 4096, 1: 4096, 3: 4096, 4: 3072, 10: 1228} {
		p := podOf()
		for i := range n {
			if i%2 == 0 {
				p.Spec.Containers = append(p.Spec.Containers, v1.Container{})
			} else {
				p.Spec.InitContainers = append(p.Spec.InitContainers, v1.Container{})
			}
		}
		if got := messageLimit(p); got != want {
			t.Errorf("%d containers: %d, want %d", n, got, want)
		}
	}
}

func TestTailLog(t *testing.T) {
	const stamp = "2026-01-02T15:04:05.123456789Z "
	var many, long bytes.Buffer
	for i := range 5000 {
		fmt.Fprintf(&many, "%sstdout F %d\n", stamp, i)
	}
	for range 300 { // one line of 300 pieces, then an end
		fmt.Fprintf(&long, "%sstdout P %s\n", stamp, strings.Repeat("y", 1000))
	}
	fmt.Fprintf(&long, "%sstdout F end\n", stamp)
	var last80 strings.Builder
	for i := 4920; i < 5000; i++ {
		fmt.Fprintf(&last80, "%d\n", i)
	}
	for name, c := range map[string]struct{ log, want string }{
		"empty":            {"", ""},
		"pieces":           {stamp + "stdout P a\n" + stamp + "stderr F x\n" + stamp + "stdout P b\n" + stamp + "stdout F c\n", "x\nabc\n"},
		"empty lines":      {stamp + "stdout F \n" + stamp + "stdout F\n", "\n\n"},
		"unfinished":       {stamp + "stdout F a\n" + stamp + "stdout P b\n", "a\nb"},
		"torn last entry":  {stamp + "stdout F a\n" + stamp + "stdo", "a\n"},
		"garbage between":  {stamp + "stdout F a\nnonsense\n\x00\xff\n" + stamp + "stdout F b\n", "a\nb\n"},
		"docker":           {`{"log":"a\n","stream":"stdout","time":"2026-01-02T15:04:05Z"}` + "\n" + `{"log":"b","stream":"stdout","time":"2026-01-02T15:04:05Z"}` + "\n" + `{"log":"c\n","stream":"stdout","time":"2026-01-02T15:04:05Z"}` + "\n", "a\nbc\n"},
		"only 80 lines":    {many.String(), last80.String()},
		"only 2048 bytes":  {long.String(), strings.Repeat("y", 2044) + "end\n"},
		"nothing sensible": {strings.Repeat("z", 3<<20), ""},
	} {
		path := filepath.Join(t.TempDir(), "log")
		write(t, path, c.log)
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tailLog(file, maxLogMessage, maxLogLines)
		file.Close()
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %.60q (%d bytes), %v, want %.60q (%d bytes)", name, got, len(got), err, c.want, len(c.want))
		}
	}
}

func TestParseLogLine(t *testing.T) {
	for entry, want := range map[string]string{
		"2026-01-02T15:04:05.1Z stdout F hello world\n":                      "stdout|false|hello world",
		"2026-01-02T15:04:05.1+02:00 stderr P part":                          "stderr|true|part",
		"2026-01-02T15:04:05.1Z stdout F:more:tags  two  blanks ":            "stdout|false| two  blanks ",
		"2026-01-02T15:04:05.1Z stdout F \r":                                 "stdout|false|\r",
		`{"log":"a\n","stream":"stderr","time":"2026-01-02T15:04:05.1Z"}`:    "stderr|false|a",
		`{"log":"no end","stream":"stdout","time":"2026-01-02T15:04:05.1Z"}`: "stdout|true|no end",
		"": "", "\n": "", "2026-01-02T15:04:05.1Z": "", "2026-01-02T15:04:05.1Z stdout": "",
		"yesterday stdout F x": "", "2026-01-02T15:04:05.1Z stdin F x": "", "2026-01-02T15:04:05.1Z stdout X x": "", "{": "", `{"log":1}`: "", `{"log":"a\n","stream":"x"}`: "",
	} {
		l, err := ParseLogLine([]byte(entry))
		got := fmt.Sprintf("%s|%v|%s", l.Stream, l.Partial, l.Text)
		if want == "" && err == nil || want != "" && (err != nil || got != want) {
			t.Errorf("%q: %s, %v, want %q", entry, got, err, want)
		}
	}
}

func FuzzParseLogLine(f *testing.F) {
	for _, s := range []string{"2026-01-02T15:04:05.1Z stdout F x\n", `{"log":"a\n","stream":"stderr","time":"2026-01-02T15:04:05.1Z"}`, "", "{"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, entry []byte) {
		l, err := ParseLogLine(entry)
		if err == nil && l.Stream != "stdout" && l.Stream != "stderr" {
			t.Errorf("stream %q", l.Stream)
		}
		if err == nil && entry[0] != '{' && !bytes.Contains(entry, l.Text) {
			t.Errorf("text %q is not of the entry", l.Text)
		}
	})
}
