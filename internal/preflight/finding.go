package preflight

import (
	"context"
	"fmt"
	"slices"
)

// A Level says how much a finding matters.
type Level int

const (
	OK      Level = iota // nothing to do
	Warning              // Bosun works, but not everything will
	Problem              // Bosun cannot work so
)

func (l Level) String() string {
	switch l {
	case OK:
		return "ok"
	case Warning:
		return "warning"
	case Problem:
		return "problem"
	}
	return fmt.Sprintf("level %d", int(l))
}

// A Finding is one thing about the machine that matters to Bosun.
type Finding struct {
	// Topic groups findings: "permissions", "cgroup", "ports", …
	Topic string
	Level Level
	// What is how it is, in plain words.
	What string
	// Mend is what to do about it; empty when nothing needs to be done.
	Mend string
}

// Worst is the highest level among findings; OK when there are none.
func Worst(findings []Finding) Level {
	worst := OK
	for _, f := range findings {
		worst = max(worst, f.Level)
	}
	return worst
}

// Check looks at this machine: Gather, then Judge.
func Check(ctx context.Context, c Config) []Finding {
	return Judge(Gather(ctx, c), c)
}

// Judge says what of a machine matters for what Bosun is going to do: in a fixed order by topic, within a topic the worst
// first. It is a pure function.
func Judge(m Machine, c Config) []Finding {
	var findings []Finding
	for _, topic := range []struct {
		name string
		rule func(Machine, Config) []Finding
	}{
		{"permissions", judgePermissions},
		{"kernel", judgeKernel},
		{"cgroup", judgeCgroup},
		{"runtime", judgeRuntime},
		{"network", judgeNetwork},
		{"ports", judgePorts},
		{"other agents", judgeAgents},
		{"swap", judgeSwap},
		{"disk", judgeDisk},
		{"limits", judgeLimits},
		{"sysctls", judgeSysctls},
		{"clock", judgeClock},
		{"dns", judgeDNS},
	} {
		found := topic.rule(m, c)
		slices.SortStableFunc(found, func(a, b Finding) int { return int(b.Level) - int(a.Level) })
		for _, f := range found {
			f.Topic = topic.name
			findings = append(findings, f)
		}
	}
	return findings
}

func ok(format string, args ...any) Finding {
	return Finding{Level: OK, What: fmt.Sprintf(format, args...)}
}

func warning(what, mend string) Finding { return Finding{Level: Warning, What: what, Mend: mend} }
func problem(what, mend string) Finding { return Finding{Level: Problem, What: what, Mend: mend} }

// ifFine adds a good word when nothing was found.
func ifFine(found []Finding, fine Finding) []Finding {
	if len(found) == 0 {
		return []Finding{fine}
	}
	return found
}
