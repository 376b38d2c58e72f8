package main

import (
	"context"
	"time"
)

// cost is the CPU time that an agent spent on pods.
type cost struct {
	pods             int
	starting, ending time.Duration
}

func costOf(all map[string]*cost, a agent) *cost {
	if all[a.name()] == nil {
		all[a.name()] = &cost{}
	}
	return all[a.name()]
}

// count adds to sum what the agent's process spends while do runs.
func (c *cost) count(a agent, sum *time.Duration, do func() error) error {
	if a.process() == 0 {
		return do()
	}
	before, err := cpuOf(a.process())
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	after, err := cpuOf(a.process())
	*sum += after - before
	return err
}

func (p *part) tellCosts(how string, spent map[string]*cost) error {
	for _, a := range p.agents {
		c := spent[a.name()]
		if c == nil || c.pods == 0 || a.process() == 0 {
			continue
		}
		for _, f := range []judgement{
			{"CPU per pod started, " + how, a.name(), inMS(c.starting) / float64(c.pods), p.budgets.cpuPerPod, "ms"},
			{"CPU per pod ended, " + how, a.name(), inMS(c.ending) / float64(c.pods), 0, "ms"},
		} {
			if err := p.state(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// state takes a number down. A budget is the subject's alone.
func (p *part) state(f judgement) error {
	if f.Agent != subject {
		f.Most = 0
	}
	return p.journal.state(f)
}

// A requester is an agent whose requests to the API server can be counted.
type requester interface {
	requests(since, until time.Time) (calls, pods, watches int, err error)
}

// A settler has work left from its start for a while.
type settler interface {
	untilSettled(ctx context.Context) error
}

// idle measures an agent whose pods just run. Of one without a process only the runtime's share is told: what is
// above it another agent causes by asking.
func (b *bench) idle(ctx context.Context, p *part, a agent, what string, pods int) error {
	progress("%s: %v%s: %s", p.title, p.idle, what, a.name())
	long := p.idle
	if a.process() == 0 {
		long = min(long, 15*time.Second)
	}
	if s, ok := a.(settler); ok {
		if err := s.untilSettled(ctx); err != nil {
			return err
		}
	}
	if err := pause(ctx, 3*time.Second); err != nil { // what starting pods leaves to do is over by then
		return err
	}
	began := time.Now()
	before, err := snapshotOf(a.process(), b.runtime)
	if err != nil {
		return err
	}
	if err := pause(ctx, long); err != nil {
		return err
	}
	after, err := snapshotOf(a.process(), b.runtime)
	if err != nil {
		return err
	}
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / long.Seconds() }
	facts := []judgement{{"CPU of the runtime" + what, a.name(), percent(after.runtime - before.runtime), 0, "% of a core"}}
	if a.process() != 0 {
		facts = append(facts,
			judgement{"CPU" + what, a.name(), percent(after.cpu - before.cpu), p.budgets.idleCPU, "% of a core"},
			judgement{"wake-ups" + what, a.name(), float64(after.wakeups-before.wakeups) / long.Seconds(), 0, "per second"})
		facts = append(facts, memoryFacts(a.name(), what, after.memory, mostRSS(pods))...)
	}
	if r, ok := a.(requester); ok {
		calls, pods, watches, err := r.requests(began, began.Add(long))
		if err != nil {
			return err
		}
		facts = append(facts,
			judgement{requestsPerMinute + what, a.name(), float64(calls) / long.Minutes(), 0, "per minute"},
			judgement{requestsPerMinute + what + ", not about pods", a.name(), float64(calls-pods) / long.Minutes(), 0, "per minute"},
			judgement{"watches begun" + what, a.name(), float64(watches) / long.Minutes(), 0, "per minute"})
	}
	for _, f := range facts {
		if err := p.state(f); err != nil {
			return err
		}
	}
	return nil
}

// requestsPerMinute is judged against what another agent needs.
const requestsPerMinute = "API requests"

// empty measures the memory of an agent that never had a pod.
func (b *bench) empty(ctx context.Context, p *part, a agent) error {
	if a.process() == 0 {
		return nil
	}
	progress("%s: memory without pods: %s", p.title, a.name())
	if s, ok := a.(settler); ok {
		if err := s.untilSettled(ctx); err != nil {
			return err
		}
	}
	m, err := memoryOf(a.process())
	if err != nil {
		return err
	}
	for _, f := range memoryFacts(a.name(), " without pods", m, mostRSS(0)) {
		if err := p.state(f); err != nil {
			return err
		}
	}
	return nil
}

func memoryFacts(agent, what string, m memory, most float64) []judgement {
	mb := func(kib int64) float64 { return float64(kib) * 1024 / 1e6 }
	return []judgement{
		{"resident memory" + what, agent, mb(m.RSS), most, "MB"},
		{"of that, its own data" + what, agent, mb(m.Anon), 0, "MB"},
		{"of that, pages of files" + what, agent, mb(m.File), 0, "MB"},
		{"proportional share" + what, agent, mb(m.PSS), 0, "MB"},
	}
}

type snapshot struct {
	cpu, runtime time.Duration
	wakeups      int64
	memory       memory
}

// snapshotOf looks at an agent, if it has a process, and the runtime.
func snapshotOf(agent, runtime int) (s snapshot, err error) {
	if s.runtime, err = cpuOf(runtime); err != nil || agent == 0 {
		return s, err
	}
	if s.cpu, err = cpuOf(agent); err != nil {
		return s, err
	}
	if s.wakeups, err = wakeups(agent); err != nil {
		return s, err
	}
	s.memory, err = memoryOf(agent)
	return s, err
}
