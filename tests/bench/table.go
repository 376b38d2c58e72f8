package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// writeTables writes all results of a part for people, and returns the missed budgets.
func writeTables(w io.Writer, p *part) (missed []string, err error) {
	fmt.Fprintf(w, "\n%s\n", strings.ToUpper(p.title))
	if missed, err = writeRatios(w, p); err != nil {
		return nil, err
	}
	more, err := writeFacts(w, p)
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(w, "\nThe ratio is the median of the pairs' ratios. Noise only ever adds, so on a busy machine the ratio of p10 is nearer the truth.")
	return append(missed, more...), writeStages(w, p)
}

func writeRatios(w io.Writer, p *part) (missed []string, err error) {
	j, floor := p.journal, p.floor().name()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\nin ms\t n\t%s p10\tp50\tp90\tagent\tp10\tp50\tp90\tratio\tquartiles\tof p10\tbudget\t\t\n", floor)
	for _, thing := range p.things() {
		for _, a := range p.agents[1:] {
			agent := a.name()
			ratios := j.ratios(thing.name, agent, floor)
			if len(ratios) == 0 {
				continue
			}
			below, above := j.values(thing.name, floor), j.values(thing.name, agent)
			verdict := judgement{Thing: thing.name, Agent: agent, Value: median(ratios), Unit: "x " + floor}
			if agent == subject {
				verdict.Most = thing.most
			}
			if err := j.line("ratio", verdict); err != nil {
				return nil, err
			}
			fmt.Fprintf(t, "%s\t%d\t%.0f\t%.0f\t%.0f\t%s\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f–%.2f\t%.2f\t%s\t%s\t\n", thing.name, len(ratios),
				fast(below), median(below), quantile(below, 0.9), agent, fast(above), median(above), quantile(above, 0.9),
				verdict.Value, quantile(ratios, 0.25), quantile(ratios, 0.75), fast(above)/fast(below), most(verdict, "≤ %.2f"), mark(verdict, &missed))
		}
	}
	return missed, t.Flush()
}

// writeFacts writes what agents are measured in by themselves, one line a thing.
func writeFacts(w io.Writer, p *part) (missed []string, err error) {
	var things []string
	for _, f := range p.journal.facts {
		if !slices.Contains(things, f.Thing) {
			things = append(things, f.Thing)
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\nby itself\t")
	for _, a := range p.agents {
		fmt.Fprintf(t, "%s\t", a.name())
	}
	fmt.Fprintln(t, "unit\tbudget\t\t")
	for _, thing := range things {
		fmt.Fprintf(t, "%s\t", thing)
		unit := ""
		for _, a := range p.agents {
			f, ok := p.journal.fact(thing, a.name())
			if !ok {
				fmt.Fprint(t, "\t")
				continue
			}
			unit = f.Unit
			fmt.Fprintf(t, "%.4g\t", f.Value)
		}
		f, _ := p.journal.fact(thing, subject)
		if rival, ok := p.journal.fact(thing, "kubelet"); ok && strings.HasPrefix(thing, requestsPerMinute) {
			f.Most = rival.Value // no more than upstream's
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t\n", unit, most(f, "≤ %.4g"), mark(f, &missed))
	}
	return missed, t.Flush()
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
func writeStages(w io.Writer, p *part) error {
	for _, work := range p.works {
		if len(p.journal.values(work.start.name, p.floor().name())) == 0 {
			continue
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(t, "\nstages, p10 and p50 in ms\t")
		for _, a := range p.agents {
			fmt.Fprintf(t, "%s\t", a.name())
		}
		fmt.Fprintln(t)
		for _, stage := range work.stages {
			fmt.Fprintf(t, "%s\t", stage.name)
			for _, a := range p.agents {
				took := p.journal.values(stage.name, a.name())
				if len(took) == 0 {
					fmt.Fprint(t, "–\t")
					continue
				}
				fmt.Fprintf(t, "%.1f  %.1f\t", fast(took), median(took))
			}
			fmt.Fprintln(t)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}
