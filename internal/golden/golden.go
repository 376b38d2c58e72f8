package golden

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write what the code answers into testdata; review the difference")

// File compares got with testdata/name.
func File[T string | []byte](t testing.TB, name string, got T) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (-rewrite writes it)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got); -rewrite accepts it:\n%s", path, diff)
	}
}

// Sections gives play each section of the files testdata/*.txt, and compares it with what play makes of it. A file opens
// with the promise it holds, and a line "=== name" begins a section.
func Sections(t *testing.T, play func(t *testing.T, body string) string) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files testdata/*.txt: %v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		promise, rest, found := strings.Cut(string(raw), "\n=== ")
		if !strings.HasPrefix(promise, "# ") || !found {
			t.Errorf("%s does not open with the promise it holds, a line that begins with %q, and sections", file, "# ")
		}
		var out strings.Builder
		out.WriteString(promise)
		for section := range strings.SplitSeq(rest, "\n=== ") {
			name, body, _ := strings.Cut(section, "\n")
			body = strings.TrimRight(body, "\n") + "\n"
			got := body // stays if it cannot be played
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+name, func(t *testing.T) {
				got = play(t, body)
				if diff := cmp.Diff(body, got); diff != "" && !*rewrite {
					t.Errorf("-want +got; -rewrite accepts it:\n%s", diff)
				}
			})
			out.WriteString("\n=== " + name + "\n" + got)
		}
		if !*rewrite {
			continue
		}
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Scenarios is for Sections of two parts: a script, a line of four dashes, and what answer returns for the script.
func Scenarios(t *testing.T, answer func(t *testing.T, script string) string) {
	t.Helper()
	const line = "\n----\n"
	Sections(t, func(t *testing.T, body string) string {
		script, _, _ := strings.Cut("\n"+body, line)
		script = strings.TrimPrefix(strings.TrimRight(script, "\n"), "\n")
		return strings.TrimRight(script+line+answer(t, script+"\n"), "\n") + "\n"
	})
}
