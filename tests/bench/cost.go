package main

import (
	"context"
	"fmt"
	"os"
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

func (b *bench) tellCosts(how string, agents []agent, spent map[string]*cost) error {
	for _, a := range agents {
		c := spent[a.name()]
		if a.process() == 0 || c == nil || c.pods == 0 {
			continue
		}
		started := judgement{"CPU per pod started, " + how, a.name(), inMS(c.starting) / float64(c.pods), mostCPUPerPod, "ms"}
		ended := judgement{"CPU per pod ended, " + how, a.name(), inMS(c.ending) / float64(c.pods), 0, "ms"}
		for _, f := range []judgement{started, ended} {
			if err := b.journal.state(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// idle measures an agent whose pods just run. Of one without a process only the runtime's share is told: what is
// above it another agent causes by asking.
func (b *bench) idle(ctx context.Context, a agent) error {
	fmt.Fprintf(os.Stderr, "bench: %d pods just run for %v: %s\n", b.options.pods, b.options.idle, a.name())
	if err := pause(ctx, 3*time.Second); err != nil { // what starting leaves to do is over by then
		return err
	}
	long := b.options.idle
	if a.process() == 0 {
		long = min(long, 15*time.Second)
	}
	what := fmt.Sprintf(" with %d running pods", b.options.pods)
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
			judgement{"CPU" + what, a.name(), percent(after.cpu - before.cpu), mostIdleCPU, "% of a core"},
			judgement{"wake-ups" + what, a.name(), float64(after.wakeups-before.wakeups) / long.Seconds(), 0, "per second"})
		facts = append(facts, memoryFacts(a.name(), what, after.memory, mostRSS(b.options.pods))...)
	}
	for _, f := range facts {
		if err := b.journal.state(f); err != nil {
			return err
		}
	}
	return nil
}

// empty measures the memory of an agent that never had a pod.
func (b *bench) empty(ctx context.Context, a agent) error {
	if a.process() == 0 {
		return nil
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	m, err := memoryOf(a.process())
	if err != nil {
		return err
	}
	for _, f := range memoryFacts(a.name(), " without pods", m, mostRSS(0)) {
		if err := b.journal.state(f); err != nil {
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
