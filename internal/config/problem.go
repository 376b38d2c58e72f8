package config

import (
	"fmt"
	"strings"
)

// Problem is one thing wrong with the configuration.
type Problem struct {
	// Where is a config field ("maxPods"), a flag with its field ("--max-pods (maxPods)"), or a file.
	Where string
	// Value is what was given, as text; empty when there is none to show.
	Value string
	// Want says what would be right.
	Want string
}

func (p Problem) String() string {
	if p.Value == "" {
		return p.Where + ": " + p.Want
	}
	return fmt.Sprintf("%s: %s: %s", p.Where, p.Value, p.Want)
}

// Problems is the error Load gives: everything that is wrong, at once.
type Problems []Problem

func (ps Problems) Error() string {
	if len(ps) == 1 {
		return "configuration: " + ps[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration: %d problems:", len(ps))
	for _, p := range ps {
		b.WriteString("\n  - " + p.String())
	}
	return b.String()
}

func (ps *Problems) add(where, value, want string) {
	*ps = append(*ps, Problem{Where: where, Value: value, Want: want})
}

// err is nil when nothing is wrong, so that an empty list never becomes a non-nil error.
func (ps Problems) err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}

// quote shows a value in a message: in quotes, and cut when long.
func quote(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
