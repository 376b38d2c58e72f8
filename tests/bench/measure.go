package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// What is measured in pairs.
const (
	startOne   = "one pod: asked → running"
	removeOne  = "one pod: asked → gone"
	startMany  = "many pods at once: asked → all running"
	removeMany = "many pods at once: asked → all gone"
)

// What one pod's time is made of: from one event to the next.
const (
	stageSandbox = "asked → sandbox runs"
	stageCreate  = "→ container created"
	stageRun     = "→ container runs"
	stageStop    = "asked → container ended"
	stageGone    = "→ gone"
)

var stages = []string{stageSandbox, stageCreate, stageRun, stageStop, stageGone}

// Budgets of what an agent is measured in by itself.
const (
	mostCPUPerPod = 10.0 // ms
	mostIdleCPU   = 0.5  // % of a core
)

// mostRSS is the budget of resident memory in MB: 35 without pods, 40 with 50, 45 with 100.
func mostRSS(pods int) float64 { return 35 + float64(pods)/10 }

// settle is how long an agent gets after something has ended for what it does afterwards. Its CPU time counts it.
const settle = 300 * time.Millisecond

// A bench measures agents, one after the other.
type bench struct {
	options  options
	observer *observer
	journal  *journal
	names    podNames
	runtime  int // the runtime's process ID
}

// order is in which order n agents have one turn: each is first, last and in between equally often, and each comes before
// any other as often as after it, so that a machine that grows slower or faster favours none.
func order(turn, n int) []int {
	who := make([]int, n)
	for i := range who {
		who[i] = (turn + i) % n
	}
	if turn/n%2 == 1 {
		slices.Reverse(who)
	}
	return who
}

// run gives each agent its turns.
func (b *bench) run(ctx context.Context, agents []agent) error {
	spent := map[string]*cost{}
	for turn := range b.options.rounds {
		for _, who := range order(turn, len(agents)) {
			a := agents[who]
			fmt.Fprintf(os.Stderr, "bench: single pods, turn %d of %d: %s\n", turn+1, b.options.rounds, a.name())
			if err := b.turn(ctx, a, func() error { return b.singles(ctx, a, turn, costOf(spent, a)) }); err != nil {
				return err
			}
		}
	}
	if err := b.tellCosts("one by one", agents, spent); err != nil {
		return err
	}
	spent = map[string]*cost{}
	for turn := range b.options.bursts {
		for _, who := range order(turn, len(agents)) {
			a := agents[who]
			fmt.Fprintf(os.Stderr, "bench: %d pods at once, turn %d of %d: %s\n", b.options.pods, turn+1, b.options.bursts, a.name())
			last := turn == b.options.bursts-1
			if err := b.turn(ctx, a, func() error { return b.burst(ctx, a, turn, last, costOf(spent, a)) }); err != nil {
				return err
			}
		}
	}
	return b.tellCosts("at once", agents, spent)
}

// turn starts an agent, lets it make and end one pod that does not count, and measures.
func (b *bench) turn(ctx context.Context, a agent, measure func() error) (err error) {
	defer func() {
		if said := a.said(); err != nil && said != "" {
			err = fmt.Errorf("%w; %s said at last:\n%s", err, a.name(), said)
		}
	}()
	if err := a.start(ctx); err != nil {
		return fmt.Errorf("start %s: %w", a.name(), err)
	}
	warm := b.names.next(1)
	if _, err := b.up(ctx, a, warm); err != nil {
		return err
	}
	if _, err := b.down(ctx, a, warm); err != nil {
		return err
	}
	if err := measure(); err != nil {
		return err
	}
	return a.stop(ctx)
}

// lived is what one or more pods went through.
type lived struct {
	asked time.Time
	took  time.Duration
	pods  []times
}

// up asks for pods and waits until all of them run.
func (b *bench) up(ctx context.Context, a agent, pods []string) (lived, error) {
	if err := a.prepare(pods); err != nil {
		return lived{}, fmt.Errorf("%s: %w", a.name(), err)
	}
	l := lived{asked: time.Now()}
	if err := a.add(ctx, pods); err != nil {
		return lived{}, fmt.Errorf("%s: %w", a.name(), err)
	}
	var err error
	if l.pods, err = b.observer.await(ctx, pods, isRunning); err != nil {
		return lived{}, fmt.Errorf("%s, pods running: %w", a.name(), err)
	}
	for _, t := range l.pods {
		l.took = max(l.took, t.running.Sub(l.asked))
	}
	return l, pause(ctx, settle)
}

// down asks for the end of pods and waits until nothing is left of them.
func (b *bench) down(ctx context.Context, a agent, pods []string) (lived, error) {
	l := lived{asked: time.Now()}
	if err := a.remove(ctx, pods); err != nil {
		return lived{}, fmt.Errorf("%s: %w", a.name(), err)
	}
	var err error
	if l.pods, err = b.observer.await(ctx, pods, isGone); err != nil {
		return lived{}, fmt.Errorf("%s, pods gone: %w", a.name(), err)
	}
	for _, t := range l.pods {
		l.took = max(l.took, t.gone.Sub(l.asked))
	}
	if err := pause(ctx, settle); err != nil {
		return lived{}, err
	}
	return l, a.clean(pods)
}

func (b *bench) singles(ctx context.Context, a agent, turn int, c *cost) error {
	for place := range b.options.each {
		pods := b.names.next(1)
		var up, down lived
		err := c.count(a, &c.starting, func() (err error) {
			up, err = b.up(ctx, a, pods)
			return err
		})
		if err != nil {
			return err
		}
		err = c.count(a, &c.ending, func() (err error) {
			down, err = b.down(ctx, a, pods)
			return err
		})
		if err != nil {
			return err
		}
		c.pods++
		u, d := up.pods[0], down.pods[0]
		for thing, took := range map[string]time.Duration{
			startOne: up.took, stageSandbox: u.sandbox.Sub(up.asked), stageCreate: u.created.Sub(u.sandbox), stageRun: u.running.Sub(u.created),
			removeOne: down.took, stageStop: d.stopped.Sub(down.asked), stageGone: d.gone.Sub(d.stopped),
		} {
			if err := b.journal.add(sample{thing, a.name(), turn, place, inMS(took), "ms"}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) burst(ctx context.Context, a agent, turn int, last bool, c *cost) error {
	pods := b.names.next(b.options.pods)
	var up, down lived
	err := c.count(a, &c.starting, func() (err error) {
		if up, err = b.up(ctx, a, pods); err != nil {
			return err
		}
		return pause(ctx, time.Second)
	})
	if err != nil {
		return err
	}
	if err := b.journal.add(sample{startMany, a.name(), turn, 0, inMS(up.took), "ms"}); err != nil {
		return err
	}
	if last && b.options.idle > 0 {
		if err := b.idle(ctx, a); err != nil {
			return err
		}
	}
	err = c.count(a, &c.ending, func() (err error) {
		down, err = b.down(ctx, a, pods)
		return err
	})
	if err != nil {
		return err
	}
	c.pods += len(pods)
	return b.journal.add(sample{removeMany, a.name(), turn, 0, inMS(down.took), "ms"})
}

func inMS(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
