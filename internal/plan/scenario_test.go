package plan

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write what the plan answers into testdata; review the diff")

// TestScenarios plays the files of testdata. A file opens with the promise it holds; "=== name" begins a pod's life.
// Each block is a few lines of what happens, a line of four dashes, and what the plan answers:
//
//	pod web restart=Always containers=app,log
//	----
//	+0s Preparing: make pod
//
// What may happen is listed at (*play).do in script_test.go. Effects succeed at once, unless a line says otherwise, and
// each pass of the plan is a line: when, the stage, what it begins or cuts short. The last line says what it waits for.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(string(raw), "\n=== ")
		if !strings.HasPrefix(parts[0], "# ") {
			t.Errorf("%s does not open with the promise it holds", file)
		}
		var out strings.Builder
		out.WriteString(parts[0])
		for _, part := range parts[1:] {
			name, body, _ := strings.Cut(part, "\n")
			got := strings.TrimRight(body, "\n") + "\n" // stays if the script cannot be played
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+name, func(t *testing.T) {
				got = playAll(t, body)
				if !*rewrite && got != strings.TrimRight(body, "\n")+"\n" {
					t.Error(cmp.Diff(body, got))
				}
			})
			out.WriteString("\n=== " + name + "\n" + got)
		}
		if *rewrite {
			if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// playAll plays the blocks of one life and returns them with the plan's answers.
func playAll(t *testing.T, body string) string {
	p := newPlay(t)
	var out strings.Builder
	for _, block := range strings.Split(strings.TrimSpace(body), "\n\n") {
		script, _, _ := strings.Cut(block, "----")
		if out.Len() > 0 {
			out.WriteString("\n")
		}
		for line := range strings.Lines(script) {
			out.WriteString(strings.TrimSpace(line) + "\n")
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				p.do(line)
			}
		}
		out.WriteString("----\n" + p.answer())
	}
	return out.String()
}
