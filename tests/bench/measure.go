package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// mostRSS is the budget of resident memory in MB: 35 without pods, 40 with 50, 45 with 100.
func mostRSS(pods int) float64 { return 35 + float64(pods)/10 }

// settle is how long an agent gets after something has ended for what it does afterwards. Its CPU time counts it.
const settle = 300 * time.Millisecond

// A bench measures agents, one after the other.
type bench struct {
	options  options
	observer *observer
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

// run gives each agent of a part its turns.
func (b *bench) run(ctx context.Context, p *part) error {
	spent := map[string]*cost{}
	for turn := range p.rounds {
		for _, who := range order(turn, len(p.agents)) {
			a := p.agents[who]
			progress("%s: single pods, turn %d of %d: %s", p.title, turn+1, p.rounds, a.name())
			if err := b.turn(ctx, p, a, func() error { return b.singles(ctx, p, a, turn, costOf(spent, a)) }); err != nil {
				return err
			}
		}
	}
	if err := p.tellCosts("one by one", spent); err != nil {
		return err
	}
	spent = map[string]*cost{}
	for turn := range p.bursts {
		for _, who := range order(turn, len(p.agents)) {
			a := p.agents[who]
			progress("%s: %d pods at once, turn %d of %d: %s", p.title, p.pods, turn+1, p.bursts, a.name())
			last := turn == p.bursts-1
			if err := b.turn(ctx, p, a, func() error { return b.burst(ctx, p, a, turn, last, costOf(spent, a)) }); err != nil {
				return err
			}
		}
	}
	return p.tellCosts("at once", spent)
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

// turn starts an agent, lets it make and end one pod of each kind that does not count, and measures.
func (b *bench) turn(ctx context.Context, p *part, a agent, measure func() error) (err error) {
	defer func() {
		if said := a.said(); err != nil && said != "" {
			err = fmt.Errorf("%w; %s said at last:\n%s", err, a.name(), said)
		}
	}()
	if err := a.start(ctx); err != nil {
		return fmt.Errorf("start %s: %w", a.name(), err)
	}
	for _, w := range p.works {
		warm := b.names.next(1)
		if _, err := b.up(ctx, a, w.kind, warm); err != nil {
			return err
		}
		if _, err := b.down(ctx, a, warm); err != nil {
			return err
		}
	}
	profiled := b.profile(ctx, a)
	if err := measure(); err != nil {
		return err
	}
	if err := profiled(); err != nil {
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

// up asks for pods and waits until all of them are there.
func (b *bench) up(ctx context.Context, a agent, k kind, pods []string) (lived, error) {
	if err := a.prepare(k, pods); err != nil {
		return lived{}, fmt.Errorf("%s: %w", a.name(), err)
	}
	l, err := b.live(ctx, a.add, a.there, pods)
	if err != nil {
		return lived{}, fmt.Errorf("%s, make pods: %w", a.name(), err)
	}
	return l, pause(ctx, settle)
}

// down asks for the end of pods and waits until nothing is left of them.
func (b *bench) down(ctx context.Context, a agent, pods []string) (lived, error) {
	l, err := b.live(ctx, a.remove, a.gone, pods)
	if err != nil {
		return lived{}, fmt.Errorf("%s, end pods: %w", a.name(), err)
	}
	if err := pause(ctx, settle); err != nil {
		return lived{}, err
	}
	return l, a.clean(pods)
}

// live asks for something and waits until it has come about for all pods.
func (b *bench) live(ctx context.Context, ask func(context.Context, []string) error, when func(times) time.Time, pods []string) (lived, error) {
	l := lived{asked: time.Now()}
	if err := ask(ctx, pods); err != nil {
		return l, err
	}
	var err error
	if l.pods, err = b.observer.await(ctx, pods, when); err != nil {
		return l, err
	}
	for _, t := range l.pods {
		l.took = max(l.took, when(t).Sub(l.asked))
	}
	return l, nil
}

// singles measures pods one by one.
func (b *bench) singles(ctx context.Context, p *part, a agent, turn int, c *cost) error {
	for place := range p.each {
		for _, w := range p.works {
			if err := b.single(ctx, p, a, w, sample{Agent: a.name(), Turn: turn, Place: place, Unit: "ms"}, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// single measures one pod. Only those of the kind plain count for the agent's cost.
func (b *bench) single(ctx context.Context, p *part, a agent, w work, s sample, c *cost) error {
	if w.kind != plain {
		c = &cost{}
	}
	pods := b.names.next(1)
	var up, down lived
	err := c.count(a, &c.starting, func() (err error) {
		up, err = b.up(ctx, a, w.kind, pods)
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
	values := map[string]float64{w.start.name: inMS(up.took), w.remove.name: inMS(down.took)}
	seen := b.observer.times(pods[0]) // the settling after both is over: what is there late is there now
	for _, stage := range w.stages {
		l := up
		if stage.down {
			l = down
		}
		if from, to := stage.from(l, seen), stage.to(l, seen); !from.IsZero() && !to.IsZero() {
			values[stage.name] = inMS(to.Sub(from))
		}
	}
	for name, value := range values {
		s.Thing, s.Value = name, value
		if err := p.journal.add(s); err != nil {
			return err
		}
	}
	return nil
}

// burst measures many pods at once, and the last time how they just run.
func (b *bench) burst(ctx context.Context, p *part, a agent, turn int, last bool, c *cost) error {
	pods := b.names.next(p.pods)
	var up, down lived
	begun := sharesNow()
	err := c.count(a, &c.starting, func() (err error) {
		if up, err = b.up(ctx, a, plain, pods); err != nil {
			return err
		}
		return pause(ctx, time.Second)
	})
	if err != nil {
		return err
	}
	if b.options.trace {
		sharesNow().print(p.startMany.name+" by "+a.name(), begun, p.pods)
		if m, ok := a.(*member); ok {
			m.printRequests(up.asked, up.pods, pods)
		}
	}
	if err := p.journal.add(sample{p.startMany.name, a.name(), turn, 0, inMS(up.took), "ms"}); err != nil {
		return err
	}
	if last && p.idle > 0 {
		if err := b.idle(ctx, p, a, fmt.Sprintf(" with %d running pods", p.pods), p.pods); err != nil {
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
	return p.journal.add(sample{p.removeMany.name, a.name(), turn, 0, inMS(down.took), "ms"})
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
