package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bosun-project/bosun/internal/serve"
	"github.com/bosun-project/bosun/internal/worker"
)

func explainCommand() *cobra.Command {
	q := &asking{}
	c := &cobra.Command{
		Use: "explain [POD]", Short: "Say what pods do, what they wait for and what went wrong", Args: cobra.MaximumNArgs(1),
		Long: "Say for each pod how it fares and why, with its stages, what it waits for and since when, what is being done\n" +
			"for it now, and what failed. Pods that are as they should be get one line, unless named. Manifests that\n" +
			"cannot be used come first.",
		RunE: func(c *cobra.Command, args []string) error { return q.explain(c.Context(), c.OutOrStdout(), args) },
	}
	q.flags(c)
	return c
}

func (q *asking) explain(ctx context.Context, out io.Writer, args []string) error {
	a, err := q.agent(ctx, true)
	if err != nil {
		return err
	}
	o, err := q.overview(ctx, a)
	if err != nil {
		return err
	}
	e := explainer{paint: painter(out), now: q.now()}
	e.troubles(o.Troubles)
	if len(args) == 1 {
		p, err := pick(o.Pods, args[0])
		if err != nil {
			e.problems(o.Problems) // the answer may be there
			_, _ = io.WriteString(out, e.text.String())
			return err
		}
		e.pod(p, true)
		_, err = io.WriteString(out, e.text.String())
		return err
	}
	e.problems(o.Problems)
	for i := range o.Pods {
		e.pod(&o.Pods[i], !o.Pods[i].Settled)
	}
	if len(o.Pods) == 0 {
		e.line("no pods")
	}
	_, err = io.WriteString(out, e.text.String())
	return err
}

// explainer writes what is to be said.
type explainer struct {
	paint
	now  time.Time
	text strings.Builder
}

func (e *explainer) line(format string, args ...any) {
	fmt.Fprintf(&e.text, format+"\n", args...)
}

// field writes lines under a title, which stands in front of the first.
func (e *explainer) field(title string, lines ...string) {
	for i, line := range lines {
		if i > 0 {
			title = ""
		}
		e.line("  %s  %s", e.dim(fmt.Sprintf("%-7s", title)), clean(line))
	}
}

// troubles tells of what is wrong with the node as a whole.
func (e *explainer) troubles(troubles []serve.Trouble) {
	for _, t := range troubles {
		text := e.red(clean(t.What))
		if !t.Since.IsZero() {
			text += ", for " + serve.Span(e.now.Sub(t.Since))
		}
		e.line("%s: %s", text, clean(t.Message))
	}
}

// problems tells of manifests that cannot be used.
func (e *explainer) problems(problems []serve.Problem) {
	for _, p := range problems {
		text := e.red("manifest " + clean(p.Origin) + " cannot be used")
		text += ", for " + serve.Span(e.now.Sub(p.Since))
		if p.Keeps > 0 {
			text += "; " + count(p.Keeps, "pod") + " of its last good version stay"
			if p.Keeps == 1 {
				text += "s"
			}
		}
		e.line("%s:", text)
		for _, m := range p.Messages {
			e.line("  %s", clean(m))
		}
	}
}

// pod tells of one pod: the answer first, then what it rests on.
func (e *explainer) pod(p *serve.Pod, whole bool) {
	mood := e.yellow
	switch {
	case p.Settled && p.Phase != "Failed":
		mood = e.green
	case len(p.Failures) > 0 || p.Phase == "Failed" || strings.Contains(p.Status, "BackOff"):
		mood = e.red
	}
	e.line("%s %s", e.bold(p.Namespace+"/"+p.Name), mood(clean(p.Summary)))
	if !whole {
		return
	}
	from := p.Source
	if p.Origin != "" {
		from += " " + p.Origin
	}
	if !p.Seen.IsZero() {
		from += ", first seen " + e.clock(p.Seen)
	}
	e.field("from", from)
	if len(p.Stages) > 0 {
		e.field("stages", stages(p.Stages))
	}
	e.field("now", e.inFlight(p.InFlight)...)
	e.field("waits", e.waits(p.Waits, p.Failures)...)
	e.field("failed", e.failures(p.Failures)...)
	e.containers(p.Parts)
	e.field("done", e.recent(p.Recent)...)
}

// clock is a time of day with how long ago that was.
func (e *explainer) clock(at time.Time) string {
	return timeOf(at) + " (" + serve.Span(e.now.Sub(at)) + " ago)"
}

func timeOf(at time.Time) string { return at.Local().Format("15:04:05") }

// stages is "Waiting 12:00:00 → Preparing +2ms → Running +1.2s": the first with its time, the others by how long after
// the one before they came.
func stages(all []worker.StageAt) string {
	var out []string
	for i, s := range all {
		if i == 0 {
			out = append(out, s.Stage+" "+timeOf(s.At))
			continue
		}
		out = append(out, s.Stage+" +"+short(s.At.Sub(all[i-1].At)))
	}
	return strings.Join(out, " → ")
}

// short is a measured time with three digits at most.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func (e *explainer) inFlight(all []worker.InFlight) []string {
	var out []string
	for _, f := range all {
		text := serve.Doing(f.Effect) + ", since " + e.clock(f.Since)
		if f.Cancelled {
			text += "; it was cancelled and has not ended yet"
		}
		out = append(out, text)
	}
	return out
}

// waits lists what a pod waits for; what stands among the failures is not said twice.
func (e *explainer) waits(all []worker.Waiting, failures []serve.Failure) []string {
	var out []string
	for _, w := range all {
		what := w.For
		if doing := serve.Doing(w.For); doing != w.For {
			what = "the next try at " + doing
		}
		text := what + ", since " + e.clock(w.Since)
		if !w.Until.IsZero() && w.Until.After(e.now) {
			text += ", until " + timeOf(w.Until) + " (in " + serve.Span(w.Until.Sub(e.now)) + ")"
		}
		if w.Detail != "" && !slices.ContainsFunc(failures, func(f serve.Failure) bool { return f.Message == w.Detail }) {
			text += ": " + w.Detail
		}
		out = append(out, text)
	}
	return out
}

func (e *explainer) failures(all []serve.Failure) []string {
	var out []string
	for _, f := range all {
		text := serve.Doing(f.Effect)
		if f.Count > 1 {
			text += fmt.Sprintf(", %d times since %s, last", f.Count, e.clock(f.Since))
		}
		text += " at " + e.clock(f.At) + ": "
		if f.Reason != "" {
			text += f.Reason + ": "
		}
		out = append(out, text+f.Message)
	}
	return out
}

// containers shows a table under the title of its first row.
func (e *explainer) containers(parts []serve.Part) {
	var rows [][]cell
	for i := range parts {
		part := &parts[i]
		name := part.Name
		if part.Kind != "container" {
			name += " (" + part.Kind + ")"
		}
		title := ""
		if i == 0 {
			title = "has"
		}
		rows = append(rows, []cell{
			{"  " + fmt.Sprintf("%-7s", title), e.dim}, {name, e.bold}, {e.state(part), e.stateColour(part)}, plain(clean(part.Image)), {e.story(part), e.dim},
		})
	}
	_ = columns(&e.text, rows)
}

func (e *explainer) state(p *serve.Part) string {
	text := p.State
	switch {
	case p.State == "running" && !p.Ready && p.Kind != "init":
		text += ", not ready"
	case p.ExitCode != nil:
		text = "ended with " + strconv.Itoa(int(*p.ExitCode))
	}
	if p.Reason != "" && p.Reason != "Completed" && p.Reason != "Error" {
		text += " (" + p.Reason + ")"
	}
	return clean(text)
}

func (e *explainer) stateColour(p *serve.Part) func(string) string {
	switch {
	case p.State == "running" && p.Ready, p.ExitCode != nil && *p.ExitCode == 0:
		return e.green
	case p.ExitCode != nil, p.Reason == "CrashLoopBackOff":
		return e.red
	}
	return e.yellow
}

// story tells since when it is so, and how it came about.
func (e *explainer) story(p *serve.Part) string {
	var out []string
	if !p.Since.IsZero() {
		out = append(out, "since "+e.clock(p.Since))
	}
	if p.Restarts > 0 {
		out = append(out, count(int(p.Restarts), "restart"))
	}
	if x := p.LastExit; x != nil {
		text := fmt.Sprintf("before it ended with %d", x.Code)
		if x.Reason != "" && x.Reason != "Error" && x.Reason != "Completed" {
			text += " (" + x.Reason + ")"
		}
		if !x.At.IsZero() {
			text += " at " + e.clock(x.At)
		}
		out = append(out, text)
	}
	if p.RetryAt.After(e.now) {
		out = append(out, "starts again in "+serve.Span(p.RetryAt.Sub(e.now)))
	}
	return clean(strings.Join(out, ", "))
}

// recent lists what was done last, the newest at the end.
func (e *explainer) recent(all []worker.Ended) []string {
	const most = 15
	var out []string
	for _, r := range all[max(0, len(all)-most):] {
		text := fmt.Sprintf("%s  %-6s %s", r.Began.Local().Format("15:04:05.000"), short(r.Took), serve.Doing(r.Effect))
		if r.Error != "" {
			text += ": " + begin(r.Error)
		}
		out = append(out, text)
	}
	return out
}

// begin is the beginning of a long message, which is told in full elsewhere.
func begin(text string) string {
	const enough = 80
	if runes := []rune(text); len(runes) > enough {
		return string(runes[:enough]) + "…"
	}
	return text
}
