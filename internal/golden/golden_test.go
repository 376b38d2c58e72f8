package golden

import (
	"strings"
	"testing"
)

// judged is a test whose errors are collected.
type judged struct {
	testing.TB
	said []string
}

func (j *judged) Helper() {}

func (j *judged) Errorf(format string, _ ...any) { j.said = append(j.said, format) }

func TestFile(t *testing.T) {
	if *rewrite {
		t.Skip("what is compared here is wrong on purpose")
	}
	for got, wrong := range map[string]int{"agreed\n": 0, "agreed": 1, "": 1} {
		j := &judged{TB: t}
		File(j, "agreed.golden", got)
		if len(j.said) != wrong {
			t.Errorf("%q: %d errors, want %d", got, len(j.said), wrong)
		}
	}
}

// A section is given whole to what plays it; a script without what follows its line.
func TestSections(t *testing.T) {
	var bodies, scripts []string
	Sections(t, func(_ *testing.T, body string) string {
		bodies = append(bodies, body)
		return body
	})
	Scenarios(t, func(_ *testing.T, script string) string {
		scripts = append(scripts, script)
		return strings.ToUpper(script)
	})
	if got, want := strings.Join(bodies, "|"), "one\n----\nONE\n|two\n\nthree\n----\nTWO\n\nTHREE\n"; got != want {
		t.Errorf("bodies %q, want %q", got, want)
	}
	if got, want := strings.Join(scripts, "|"), "one\n|two\n\nthree\n"; got != want {
		t.Errorf("scripts %q, want %q", got, want)
	}
}
