package preflight

import (
	"fmt"
	"io"
	"strings"
)

// WriteText prints findings for a terminal: one line each, aligned, what to do about it below. With colour, levels stand
// out. Fine topics are left out unless all is true. The last line sums up.
func WriteText(w io.Writer, findings []Finding, all, colour bool) error {
	wide := 0
	for _, f := range findings {
		wide = max(wide, len(f.Topic))
	}
	paint := func(l Level, text string) string {
		if !colour {
			return text
		}
		return map[Level]string{OK: "\x1b[32m", Warning: "\x1b[33m", Problem: "\x1b[31;1m"}[l] + text + "\x1b[0m"
	}
	var b strings.Builder
	counts := map[Level]int{}
	for _, f := range findings {
		counts[f.Level]++
		if f.Level == OK && !all {
			continue
		}
		fmt.Fprintf(&b, "%s  %-*s  %s\n", paint(f.Level, fmt.Sprintf("%-7s", f.Level)), wide, f.Topic, indent(f.What, wide))
		if f.Mend != "" {
			fmt.Fprintf(&b, "%-7s  %-*s  → %s\n", "", wide, "", indent(f.Mend, wide+2))
		}
	}
	switch problems, warnings := counts[Problem], counts[Warning]; {
	case problems > 0:
		fmt.Fprintf(&b, "%s\n", paint(Problem, number(problems, "problem")+", "+number(warnings, "warning")+": pods cannot run before the problems are mended."))
	case warnings > 0:
		fmt.Fprintf(&b, "%s\n", paint(Warning, number(warnings, "warning")+": pods can run."))
	default:
		fmt.Fprintf(&b, "%s\n", paint(OK, "Pods can run."))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// indent keeps further lines of a text in its column.
func indent(text string, wide int) string {
	return strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", 7+2+wide+2))
}

func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
