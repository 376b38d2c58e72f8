package plan

import (
	"strings"
	"testing"

	"github.com/bosun-project/bosun/internal/golden"
)

// TestScenarios plays the files of testdata. A file opens with the promise it holds; "=== name" begins a pod's life.
// Each block is a few lines of what happens, a line of four dashes, and what the plan answers:
//
//	pod web restart=Always containers=app,log
//	----
//	+0s Preparing: make pod
//
// What may happen is listed at (*play).do in script_test.go. Effects succeed at once, unless a line says otherwise, and
// each pass of the plan is a line: when, the stage, what it begins or cuts short. The last line says what it waits for.
func TestScenarios(t *testing.T) { golden.Sections(t, playAll) }

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
