package plan

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
)

// play is one pod's life: a plan, a small runtime, and a clock that moves when the script says so. There is no
// goroutine in it.
type play struct {
	t       *testing.T
	began   time.Time
	now     time.Time
	skew    time.Duration // what the clock was set back by in this life of the agent
	desired *pod.Desired
	memory  Memory
	seen    pod.Observed
	facts   Facts
	flights []*flight
	manner  map[string]manner // by Effect.Subject
	logs    map[string]uint32

	// The runtime.
	sandboxes  []pod.Sandbox
	containers []pod.Container
	termed     map[string]time.Time
	ids        int
	noCgroup   bool // the pod's cgroup is not there
	noAddress  bool // what the network gives to the next sandboxes
	// has is what each container may use, cgroup what all of them together may.
	has    map[string]Given
	cgroup map[string]int64
	// foreign containers do not tell what they were made with.
	foreign bool
	room    Resize // what admission says of resizes; without Fits and Reason it says nothing

	out  strings.Builder
	last Plan
}

// flight is an effect that has begun. A zero end means that it hangs.
type flight struct {
	effect Effect
	began  time.Time
	end    time.Time
}

// manner is how effects of one subject behave.
type manner struct {
	takes   time.Duration
	hangs   bool
	unheard bool // it happens, but never returns
	fails   int  // that many times, -1 for ever
	class   Class
	reason  string
}

func newPlay(t *testing.T) *play {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return &play{
		t: t, began: at, now: at, manner: map[string]manner{}, logs: map[string]uint32{}, termed: map[string]time.Time{},
		has: map[string]Given{}, room: Resize{Fits: true},
		facts: Facts{SourcesReady: true, RuntimeUp: true, NetworkReady: true, Verdict: Verdict{Judged: true, Admit: true}},
	}
}

// clock is the time since the beginning.
func (p *play) clock(at time.Time) string {
	return "+" + at.Sub(p.began).Round(time.Second).String()
}

// answer returns what was written since it was asked last, and what the plan now waits for.
func (p *play) answer() string {
	waits := make([]string, 0, len(p.last.Waits))
	for _, w := range p.last.Waits {
		text := w.For
		if !w.Until.IsZero() {
			text += " until " + p.clock(w.Until)
		}
		waits = append(waits, text)
	}
	line := p.clock(p.now) + " " + p.stage()
	for _, f := range p.flights {
		waits = append(waits, "("+f.effect.Key()+")")
	}
	switch {
	case len(waits) > 0:
		line += " waits for " + strings.Join(waits, ", ")
	case p.memory.Stage == Done:
	default:
		line += " is content"
	}
	if !p.last.WakeAt.IsZero() {
		line += "; wakes at " + p.clock(p.last.WakeAt)
	}
	text := p.out.String() + line + "\n"
	p.out.Reset()
	return text
}

func (p *play) stage() string {
	text := p.memory.Stage.String()
	if s := p.memory.Kept.Stop; s != nil {
		text += " (" + string(s.Cause) + ")"
	}
	return text
}

// settle plans, acts and learns until nothing more happens by itself at this moment.
func (p *play) settle() {
	for range 100 {
		if !p.pass() {
			return
		}
	}
	p.t.Fatalf("the plan never comes to rest:\n%s", p.out.String())
}

// pass is what the worker does once. It tells whether anything changed.
func (p *play) pass() bool {
	p.judge()
	in := Input{Desired: p.desired, Memory: p.memory, Observed: p.seen, Facts: p.facts, Now: p.now}
	for _, f := range p.flights {
		in.InFlight = append(in.InFlight, f.effect)
	}
	next := Next(in)
	p.check(in, next)
	p.memory, p.last = next.Memory, next
	var done []string
	for _, f := range slices.Clone(p.flights) {
		i := slices.IndexFunc(next.Effects, func(e Effect) bool { return e.Key() == f.effect.Key() })
		if i < 0 || !next.Effects[i].Same(f.effect) {
			done = append(done, "cut short: "+f.effect.Key())
			p.end(f, &Fault{Class: Cancelled, Message: "cut short"})
		}
	}
	for _, e := range next.Effects {
		if !slices.ContainsFunc(p.flights, func(f *flight) bool { return f.effect.Key() == e.Key() }) {
			done = append(done, words(e, p))
			p.begin(e)
		}
	}
	if len(done) > 0 {
		fmt.Fprintf(&p.out, "%s %s: %s\n", p.clock(p.now), p.stage(), strings.Join(done, ", "))
	}
	return p.land() || len(done) > 0
}

func words(e Effect, p *play) string {
	text := e.Key()
	if !e.Deadline.IsZero() {
		text += " by " + p.clock(e.Deadline)
	}
	if e.Kind == EnsureImage && e.ID != "" {
		text += " as " + e.ID
	}
	if e.Why != "" {
		text += fmt.Sprintf(" (%s)", e.Why)
	}
	return text
}

func (p *play) begin(e Effect) {
	m := p.manner[e.Subject()]
	f := &flight{effect: e, began: p.now, end: p.now.Add(m.takes)}
	if e.Kind == StopContainer {
		f.end = p.stopsAt(e, m)
	}
	if m.unheard {
		p.world(e)
	}
	if (m.hangs || m.unheard) && e.Kind != StopContainer {
		f.end = time.Time{}
	}
	p.flights = append(p.flights, f)
}

// stopsAt is when StopContainer returns: when the process ends after its TERM, or at the deadline, but no sooner than
// after two seconds.
func (p *play) stopsAt(e Effect, m manner) time.Time {
	if _, ok := p.termed[e.ID]; !ok {
		p.termed[e.ID] = p.now
	}
	kill := e.Deadline
	if least := p.now.Add(2 * time.Second); kill.Before(least) {
		kill = least
	}
	if by := p.termed[e.ID].Add(m.takes); !m.hangs && by.Before(kill) {
		return by
	}
	return kill
}

// land ends all effects whose time has come.
func (p *play) land() bool {
	landed := false
	for _, f := range slices.Clone(p.flights) {
		if !f.end.IsZero() && !f.end.After(p.now) {
			p.tick()
			p.end(f, p.fault(f.effect))
			landed = true
		}
	}
	return landed
}

// tick lets a moment pass, so that what follows is later than what was before.
func (p *play) tick() { p.now = p.now.Add(time.Millisecond) }

func (p *play) fault(e Effect) *Fault {
	m := p.manner[e.Subject()]
	if m.fails == 0 {
		return nil
	}
	if m.fails > 0 {
		m.fails--
		p.manner[e.Subject()] = m
	}
	return &Fault{Class: m.class, Reason: m.reason, Message: e.Key() + " failed", Missing: m.reason == "missing"}
}

// end takes an effect out of what is in flight and learns from it.
func (p *play) end(f *flight, fault *Fault) {
	p.flights = slices.DeleteFunc(p.flights, func(o *flight) bool { return o == f })
	o := Outcome{Effect: f.effect, Began: f.began, Failed: fault}
	if fault == nil {
		o.Report = p.world(f.effect)
		o.LogAttempts = nil
		if f.effect.Kind == MakePod {
			o.LogAttempts = p.logs
			o.Uprooted = p.uprooted()
		}
		o.Image = ResolvedImage{ID: "id-of-" + f.effect.Image}
	}
	p.tick()
	o.Ended = p.now
	p.memory = Learn(p.memory, o)
	if o.Report != nil {
		p.seen = p.seen.Merge(*o.Report)
	}
}

// uprooted is what MakePod says of a pod without a cgroup: the sandbox that is not in it, once.
func (p *play) uprooted() string {
	for _, s := range p.sandboxes {
		if p.noCgroup && s.Ready && s.ID != p.memory.Kept.Uprooted {
			return s.ID
		}
	}
	p.noCgroup = false
	return ""
}

// world does to the runtime what an effect says, and reports it.
func (p *play) world(e Effect) *pod.Report {
	p.tick()
	r := pod.Report{Own: true, Began: p.now}
	switch e.Kind {
	case MakePod, GrowPod, SettlePod, UpdateContainer:
		p.resize(e)
		return nil
	case RunSandbox:
		p.ids++
		s := pod.Sandbox{ID: fmt.Sprint("s", p.ids), Attempt: e.Attempt, Ready: true, Seen: p.now, CreatedAt: p.now, HostNetwork: p.desired.Pod.Spec.HostNetwork}
		if !s.HostNetwork && !p.noAddress {
			s.IPs = []string{"10.0.0.1"}
		}
		for i := range p.sandboxes {
			if p.sandboxes[i].Ready {
				p.t.Error("two ready sandboxes")
			}
		}
		p.sandboxes = append(p.sandboxes, s)
		r.Sandboxes = []pod.Sandbox{s}
	case CreateContainer:
		p.ids++
		spec, _ := pod.FindContainer(p.desired.Pod, e.Container)
		c := pod.Container{
			ID: fmt.Sprint("c", p.ids), SandboxID: e.SandboxID, Name: e.Container, Attempt: e.Attempt, State: pod.Created, Seen: p.now, CreatedAt: p.now,
			Hash: names.HashContainer(spec), Image: spec.Image,
		}
		p.made(&c)
		if want := "id-of-" + spec.Image; e.Image != want {
			p.t.Errorf("%s is created from %s, want %s", e.Container, e.Image, want)
		}
		p.containers = append(p.containers, c)
		p.holds()
		r.Containers = []pod.Container{c}
	case StartContainer:
		return p.startContainer(e)
	case StopContainer:
		p.exit(e.ID, p.exitCode(e))
		return p.look()
	case RemoveContainer:
		c := p.container(e.ID)
		p.containers = slices.DeleteFunc(p.containers, func(o pod.Container) bool { return o.ID == e.ID })
		c.State, c.Seen = pod.Gone, p.now
		r.Containers = []pod.Container{c}
	case StopSandbox:
		p.stopSandbox(e.ID)
		return p.look()
	case RemoveSandbox:
		p.sandboxes = slices.DeleteFunc(p.sandboxes, func(s pod.Sandbox) bool { return s.ID == e.ID })
		return p.look()
	case Look:
		return p.look()
	case SetupVolume, PrepareClaims, EnsureImage, PostStart, PreStop, ReadEnd, UnprepareClaims, TearVolumes, UnmakePod, ForgetPod:
		return nil
	}
	return &r
}

func (p *play) startContainer(e Effect) *pod.Report {
	if p.memory.Stage >= Stopping {
		p.t.Errorf("%s is started although the pod is stopping", e.Container)
	}
	for i := range p.containers {
		c := &p.containers[i]
		if c.Name == e.Container && c.ID != e.ID && c.Live() {
			p.t.Errorf("two live copies of %s", e.Container)
		}
		if c.ID == e.ID {
			c.State, c.StartedAt, c.Seen = pod.Running, p.now, p.now
			return &pod.Report{Own: true, Began: p.now, Containers: []pod.Container{*c}}
		}
	}
	return &pod.Report{Own: true, Began: p.now}
}

// exitCode is 0 for a process that ended by itself after TERM, 137 for one that was killed.
func (p *play) exitCode(e Effect) int32 {
	m := p.manner[e.Subject()]
	if m.hangs || p.now.Before(p.termed[e.ID].Add(m.takes)) {
		return 137
	}
	return 0
}

func (p *play) container(id string) pod.Container {
	for _, c := range p.containers {
		if c.ID == id {
			return c
		}
	}
	return pod.Container{ID: id}
}

func (p *play) exit(id string, code int32) {
	for i := range p.containers {
		if c := &p.containers[i]; c.ID == id && c.Live() {
			c.State, c.ExitCode, c.FinishedAt = pod.Exited, code, p.now
		}
	}
}

func (p *play) stopSandbox(id string) {
	for i := range p.containers {
		if p.containers[i].SandboxID == id {
			p.exit(p.containers[i].ID, 137)
		}
	}
	for i := range p.sandboxes {
		if p.sandboxes[i].ID == id {
			p.sandboxes[i].Ready, p.sandboxes[i].IPs = false, nil
		}
	}
}

// look is a complete inspection.
func (p *play) look() *pod.Report {
	p.tick()
	r := &pod.Report{Complete: true, Began: p.now}
	for _, s := range p.sandboxes {
		s.Seen = p.now
		r.Sandboxes = append(r.Sandboxes, s)
	}
	for _, c := range p.containers {
		c.Seen = p.now
		r.Containers = append(r.Containers, c)
	}
	return r
}

// event tells of the pod as the runtime's event stream would.
func (p *play) event() {
	r := p.look()
	r.Complete = false
	p.seen = p.seen.Merge(*r)
}

// check holds what must be true of every plan.
func (p *play) check(in Input, next Plan) {
	p.t.Helper()
	if again := Next(in); !reflect.DeepEqual(again, next) {
		p.t.Errorf("the same input gave two plans:\n%+v\n%+v", next, again)
	}
	if in.Memory.Stage >= Stopping && next.Memory.Stage < Stopping {
		p.t.Errorf("back from %s to %s", in.Memory.Stage, next.Memory.Stage)
	}
	if !next.WakeAt.IsZero() && !next.WakeAt.After(in.Now) {
		p.t.Errorf("it wants to be woken at %s, and it is %s", p.clock(next.WakeAt), p.clock(in.Now))
	}
	if s := next.Memory.Stage; s != Done && s != Running && len(next.Effects)+len(next.Waits) == 0 && next.WakeAt.IsZero() {
		p.t.Errorf("stuck in %s: no effect, no wake-up, no named wait", s)
	}
	keys := map[string]bool{}
	for _, e := range next.Effects {
		if keys[e.Key()] {
			p.t.Errorf("%s is wanted twice", e.Key())
		}
		keys[e.Key()] = true
	}
	text, err := json.Marshal(next.Memory.Kept)
	var read Kept
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if again, _ := json.Marshal(read); err != nil || string(again) != string(text) {
		p.t.Errorf("what is kept does not survive the ledger (%v):\n%s\n%s", err, text, again)
	}
}
