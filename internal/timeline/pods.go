package timeline

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// Doer carries out effects, as worker.Doer does.
type Doer interface {
	Do(ctx context.Context, d *pod.Desired, e plan.Effect, seen plan.Seen) plan.Outcome
}

// Span is something that takes time.
type Span interface {
	// Under returns ctx below the span.
	Under(ctx context.Context) context.Context
	Add(attrs ...slog.Attr)
	Fail(fault string)
	End(at time.Time)
}

// Config is what Pods are built from.
type Config struct {
	Doer Doer
	// Begin begins a span below that of ctx, or, where ctx has none, the first of a trace.
	Begin func(ctx context.Context, name string, at time.Time, attrs ...slog.Attr) Span
	// Table shows the pods, and returns a channel that is closed when it shows others.
	Table func() ([]View, <-chan struct{})
}

// View is what the table shows of a pod.
type View struct {
	UID types.UID
	// At is when its worker had looked.
	At    time.Time
	Stage plan.Stage
	// Judged is when the pod had been let in, zero before, or if that was in another life of the agent.
	Judged time.Time
	// Idle tells that no effect was in flight.
	Idle  bool
	Ready bool
}

// Pods makes the spans of all pods. It is the workers' Doer.
type Pods struct {
	cfg Config

	mu    sync.Mutex
	lives map[types.UID]*life
}

// life is the act in which a pod is.
type life struct {
	act  Act
	span Span // nil between acts
	// starting tells that the pod has not been ready since it was first heard of; judged that its admission was told.
	starting, judged bool
	// flying counts the effects in flight. last is when one ended last, and started when a container was started last.
	flying        int
	last, started time.Time
	began         time.Time
	shown         bool
}

// New builds Pods.
func New(cfg Config) *Pods { return &Pods{cfg: cfg, lives: map[types.UID]*life{}} }

// Do carries out an effect in a span of its own.
func (p *Pods) Do(ctx context.Context, d *pod.Desired, e plan.Effect, seen plan.Seen) plan.Outcome {
	step := p.begin(ctx, d, e, actOf(seen.Memory.Stage), seen.Memory.Stage < plan.Running)
	o := p.cfg.Doer.Do(step.Under(ctx), d, e, seen)
	now := time.Now()
	step.Add(outcomeAttrs(o)...)
	if o.Failed != nil {
		step.Fail(o.Failed.Message)
	}
	step.End(now)
	p.end(d.UID(), e, o, now)
	return o
}

func (p *Pods) begin(ctx context.Context, d *pod.Desired, e plan.Effect, act Act, early bool) Span {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	l := p.lives[d.UID()]
	if l == nil {
		l = &life{starting: early}
		p.lives[d.UID()] = l
	}
	if l.span != nil && l.act != act {
		l.close(now)
	}
	if l.span == nil {
		l.act, l.began, l.starting = act, now, l.starting && act == Sync
		if l.starting && !d.Seen.IsZero() {
			l.began = d.Seen
		}
		l.span = p.cfg.Begin(ctx, act.String(), l.began, append(podAttrs(d), updateType(act, l.starting))...)
	}
	l.flying++
	return p.cfg.Begin(l.span.Under(ctx), stepName(e.Kind), now, effectAttrs(e)...)
}

func (p *Pods) end(uid types.UID, e plan.Effect, o plan.Outcome, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lives[uid]
	if l == nil {
		return
	}
	l.flying--
	l.last = now
	if e.Kind == plan.StartContainer && o.Failed == nil {
		l.started = now
	}
}

// close ends the act.
func (l *life) close(at time.Time) {
	l.span.End(at)
	l.span, l.starting = nil, false
}

// Run follows the table until the context ends.
func (p *Pods) Run(ctx context.Context) error {
	for {
		views, newer := p.cfg.Table()
		p.look(ctx, views)
		select {
		case <-ctx.Done():
			p.leave()
			return nil
		case <-newer:
		}
	}
}

func (p *Pods) look(ctx context.Context, views []View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	here := make(map[types.UID]struct{}, len(views))
	for i := range views {
		here[views[i].UID] = struct{}{}
		if l := p.lives[views[i].UID]; l != nil {
			l.shown = true
			if l.span != nil {
				p.follow(ctx, l, &views[i])
			}
		}
	}
	for uid, l := range p.lives {
		if _, ok := here[uid]; ok || !l.shown || l.flying > 0 {
			continue
		}
		if l.span != nil {
			l.close(l.last)
		}
		delete(p.lives, uid)
	}
}

// follow tells what no effect does: admission, the wait for being ready, and that an act is over.
func (p *Pods) follow(ctx context.Context, l *life, v *View) {
	if l.starting && !l.judged && !v.Judged.IsZero() {
		l.judged = true
		p.cfg.Begin(l.span.Under(ctx), admitStep, l.began).End(v.Judged)
	}
	switch {
	case actOf(v.Stage) != l.act:
		if actOf(v.Stage) > l.act && l.flying == 0 {
			l.close(v.At)
		}
	case l.starting && v.Ready:
		from := v.At // the runtime may tell that a container runs before it answers to the start
		if !l.started.IsZero() {
			from = l.started
		}
		p.cfg.Begin(l.span.Under(ctx), readyStep, from).End(v.At)
		l.starting = false
	}
	if l.span != nil && !l.starting && l.act != Terminating && v.Idle && l.flying == 0 && v.At.After(l.last) {
		l.close(v.At)
	}
}

// leave ends what is under way.
func (p *Pods) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, l := range p.lives {
		if l.span != nil {
			l.close(now)
		}
	}
	clear(p.lives)
}
