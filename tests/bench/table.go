package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Things that are measured in pairs, in the order of the table. The budgets are those of the design, section 4, as
// ratios of medians to the floor.
var things = []struct {
	name string
	most float64
}{
	{startOne, 1.15},
	{removeOne, 1.4},
	{startMany, 1.15},
	{removeMany, 0},
}

// writeTable writes all results for people, and returns the missed budgets.
func writeTable(w io.Writer, j *journal, floor string, agents []string) (missed []string, err error) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nin ms\t n\t%s p10\tp50\tp90\tagent\tp10\tp50\tp90\tratio\tquartiles\tof p10\tbudget\t\t\n", floor)
	for _, thing := range things {
		for _, agent := range agents {
			ratios := j.ratios(thing.name, agent, floor)
			if len(ratios) == 0 {
				continue
			}
			below, above := j.values(thing.name, floor), j.values(thing.name, agent)
			verdict := judgement{Thing: thing.name, Agent: agent, Value: median(ratios), Most: thing.most, Unit: "x " + floor}
			if err := j.line("ratio", verdict); err != nil {
				return nil, err
			}
			fmt.Fprintf(t, "%s\t%d\t%.0f\t%.0f\t%.0f\t%s\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f–%.2f\t%.2f\t%s\t%s\t\n", thing.name, len(ratios),
				fast(below), median(below), quantile(below, 0.9), agent, fast(above), median(above), quantile(above, 0.9),
				verdict.Value, quantile(ratios, 0.25), quantile(ratios, 0.75), fast(above)/fast(below), most(verdict, "≤ %.2f"), mark(verdict, &missed))
		}
	}
	if err := t.Flush(); err != nil {
		return nil, err
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nby itself\tagent\tvalue\tunit\tbudget\t\t\n")
	for _, f := range j.facts {
		fmt.Fprintf(t, "%s\t%s\t%.4g\t%s\t%s\t%s\t\n", f.Thing, f.Agent, f.Value, f.Unit, most(f, "≤ %.4g"), mark(f, &missed))
	}
	if err := t.Flush(); err != nil {
		return nil, err
	}
	fmt.Fprintln(w, "\nThe ratio is the median of the pairs' ratios. Noise only ever adds, so on a busy machine the ratio of p10 is nearer the truth.")
	return missed, writeStages(w, j, append([]string{floor}, agents...))
}

func most(j judgement, format string) string {
	if j.Most == 0 {
		return ""
	}
	return fmt.Sprintf(format, j.Most)
}

func mark(j judgement, missed *[]string) string {
	switch {
	case j.Most == 0:
		return ""
	case j.missed():
		*missed = append(*missed, fmt.Sprintf("%s of %s is %.3g, budget %.3g", j.Thing, j.Agent, j.Value, j.Most))
		return "MISSED"
	}
	return "ok"
}

// writeStages shows where the time of one pod goes.
func writeStages(w io.Writer, j *journal, agents []string) error {
	if len(j.values(startOne, agents[0])) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nstages of one pod, p10 and p50 in ms\t%s\t\n", strings.Join(agents, "\t"))
	for _, stage := range stages {
		fmt.Fprintf(t, "%s\t", stage)
		for _, agent := range agents {
			took := j.values(stage, agent)
			fmt.Fprintf(t, "%.1f  %.1f\t", fast(took), median(took))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}
