package probe

import (
	"maps"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/health"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// rounds is the state of a running loop. One goroutine owns it.
type rounds struct {
	*flights

	loop *Loop
	lag  lag
	now  time.Time
	// began is when the agent began.
	began time.Time
	pods  map[types.UID]*patient
	// round counts how often the targets were read.
	round uint64
	// waiting are the probes that are not due yet.
	waiting alarms
	// changed names the pods whose health may have changed since it was published.
	changed map[types.UID]bool
}

// patient is a pod. Most have no probes, and so no wards.
type patient struct {
	version any
	target  Target
	round   uint64
	wards   []*ward
}

// ward is one container of a pod, over all its instances.
type ward struct {
	pod       *patient
	container *v1.Container
	spec      *health.Spec
	life      health.Life
	checks    [health.Kinds]*check
	// execing tells that a command runs in the container.
	execing bool
}

// check is one probe of a ward: it waits, is queued, or flies.
type check struct {
	*ward

	kind health.Kind
	rule *health.Rule
	// due and index are its place among those that wait; index is -1 if it does not.
	due   time.Time
	index int
	// queued tells that it is due and waits for its turn.
	queued bool
	flight *flight
	// forgotten tells that the meter was told that this is over.
	forgotten bool
}

func newRounds(l *Loop) *rounds {
	r := &rounds{
		loop: l, lag: lag{now: l.cfg.Now, wall: l.cfg.Wall}, flights: newFlights(l.cfg.Execs),
		pods: map[types.UID]*patient{}, changed: map[types.UID]bool{},
	}
	r.look()
	r.began = l.cfg.Began
	if r.began.IsZero() {
		r.began = r.now
	}
	return r
}

func (r *rounds) look() { r.now = r.lag.look() }

// wakeAt is when the loop has to look again at the latest; zero if only something new can make it.
func (r *rounds) wakeAt() time.Time {
	at := r.waiting.next()
	if beat := r.now.Add(pulse); r.open > 0 && (at.IsZero() || beat.Before(at)) {
		at = beat
	}
	r.lag.expected = at
	return at
}

// take looks at the pods that are new or changed and drops those that are gone.
func (r *rounds) take(targets []Target) {
	r.round++
	for i := range targets {
		t := &targets[i]
		uid := t.Desired.UID()
		p := r.pods[uid]
		if p == nil {
			p = r.admit(t)
		}
		p.round = r.round
		if p.version == nil || p.version != t.Version {
			p.version, p.target = t.Version, *t
			r.examine(uid, p)
		}
	}
	for uid, p := range r.pods {
		if p.round != r.round {
			r.discharge(uid, p)
		}
	}
}

// admit makes a patient of a pod.
func (r *rounds) admit(t *Target) *patient {
	p := &patient{}
	for _, c := range health.Probed(t.Desired.Pod) {
		spec := health.SpecOf(t.Desired.Pod, c)
		if spec == nil {
			continue
		}
		w := &ward{pod: p, container: c, spec: spec}
		for k := range health.Kind(health.Kinds) {
			if rule := spec.Rule(k); rule != nil {
				w.checks[k] = &check{ward: w, kind: k, rule: rule, index: -1}
			}
		}
		p.wards = append(p.wards, w)
	}
	r.pods[t.Desired.UID()] = p
	return p
}

// examine brings the wards of a pod in line with its containers.
func (r *rounds) examine(uid types.UID, p *patient) {
	seen := pod.Observed{Containers: p.target.Containers}
	for _, w := range p.wards {
		last := seen.Latest(w.container.Name)
		switch {
		case last == nil || last.State != pod.Running || p.target.Hooked[last.ID]:
			w.life = health.Life{} // not running: nothing is known of it (behaviour 129)
		case last.ID != w.life.ID:
			w.life = health.Begin(w.spec, r.instance(p, last), r.now)
		}
		if p.target.Stopping {
			w.life = w.life.Stop(r.now)
		}
		r.schedule(w)
		if health.Finished(p.target.Desired.Pod, w.container, last) || p.target.Stopping && w.life.ID == "" {
			r.forget(w, health.Startup, health.Liveness, health.Readiness)
		} else if p.target.Stopping {
			r.forget(w, health.Startup, health.Liveness)
		}
	}
	r.changed[uid] = true
}

func (r *rounds) instance(p *patient, c *pod.Container) health.Instance {
	in := health.Instance{ID: c.ID, Started: c.StartedAt, Agent: r.began}
	if before, ok := p.target.Before[c.ID]; ok {
		in.Before = &before
	}
	return in
}

func (r *rounds) discharge(uid types.UID, p *patient) {
	for _, w := range p.wards {
		w.life = health.Life{}
		r.schedule(w)
		r.forget(w, health.Startup, health.Liveness, health.Readiness)
	}
	delete(r.pods, uid)
	r.changed[uid] = true
}

// schedule puts each probe of a ward where it belongs after its life has changed: questions to an instance that is no
// more, and those that do not matter any more, are given up.
func (r *rounds) schedule(w *ward) {
	for _, c := range w.checks {
		if c == nil {
			continue
		}
		due := w.life.Due(c.kind)
		if c.flight != nil && (due.IsZero() || c.flight.id != w.life.ID) {
			c.flight.cancel()
			c.flight = nil
		}
		if due.IsZero() || due.After(r.now) {
			c.queued = false
		}
		if c.flight == nil && !c.queued {
			r.waiting.set(c, due)
		}
	}
}

// forget tells the meter that probes will not be asked any more.
func (r *rounds) forget(w *ward, kinds ...health.Kind) {
	for _, k := range kinds {
		if c := w.checks[k]; c != nil && !c.forgotten {
			c.forgotten = true
			r.loop.cfg.Meter.Forget(c.which())
		}
	}
}

func (c *check) which() Which {
	return Which{Pod: c.pod.target.Desired.Pod, Container: c.container.Name, Kind: c.kind}
}

// publish shows the health of pods where it has changed.
func (r *rounds) publish() {
	if len(r.changed) == 0 {
		return
	}
	shown := r.loop.health.Value()
	var fresh Health
	for uid := range r.changed {
		now := healthOf(r.pods[uid])
		if maps.EqualFunc(shown[uid], now, same) {
			continue
		}
		if fresh == nil {
			fresh = make(Health, len(shown)+1)
			maps.Copy(fresh, shown)
		}
		if now == nil {
			delete(fresh, uid)
		} else {
			fresh[uid] = now
		}
	}
	clear(r.changed)
	if fresh != nil {
		r.loop.health.Set(fresh)
	}
}

// healthOf is the health of a pod's containers that run; nil if none does.
func healthOf(p *patient) map[string]plan.Health {
	if p == nil {
		return nil
	}
	var out map[string]plan.Health
	for _, w := range p.wards {
		if w.life.ID == "" {
			continue
		}
		if out == nil {
			out = make(map[string]plan.Health, len(p.wards))
		}
		out[w.life.ID] = w.life.Health()
	}
	return out
}

func same(a, b plan.Health) bool {
	grace := a.Grace == b.Grace || a.Grace != nil && b.Grace != nil && *a.Grace == *b.Grace
	return a.Started == b.Started && a.Ready == b.Ready && a.Failed == b.Failed && grace
}
