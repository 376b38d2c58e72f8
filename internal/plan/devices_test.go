package plan

import (
	"slices"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// TestTakeDevices holds when device plugins are asked, and what a pod waits for meanwhile (behaviours 238, 239).
func TestTakeDevices(t *testing.T) {
	const gpu, take = "vendor.test/gpu", "take devices"
	away := &allocate.Bond{Mark: 7, Away: map[string]allocate.Supply{gpu: {Why: "it has gone", Until: noon(50)}}}
	run := []pod.Container{{ID: "c1", SandboxID: "s1", Name: "a", State: pod.Running}}
	ran := []pod.Container{{ID: "c1", SandboxID: "s1", Name: "a", State: pod.Exited, ExitCode: 1}}
	failed := func(why string) func(*Input) {
		return func(in *Input) {
			in.Memory.Kept.Failures = map[string]Failure{take: {Count: 1, Message: "why", Reason: why, Delay: time.Minute, RetryAt: noon(30), Of: "content 7"}}
		}
	}
	for name, c := range map[string]struct {
		changes []func(*Input)
		takes   bool
		wait    string
		stop    string
	}{
		"at first":            {nil, true, "", ""},
		"it was handed out":   {[]func(*Input){func(in *Input) { in.Memory.Kept.Handed = &allocate.Handed{Boot: "b"} }}, false, "", ""},
		"before this boot":    {[]func(*Input){func(in *Input) { in.Memory.Kept.Handed = &allocate.Handed{Boot: "a"} }}, true, "", ""},
		"no devices":          {[]func(*Input){func(in *Input) { in.Memory.Kept.Assigned = &allocate.Assigned{} }}, false, "", ""},
		"21 away":             {[]func(*Input){func(in *Input) { in.Facts.Bond = away }}, false, "device plugin of " + gpu, ""},
		"21 away for long":    {[]func(*Input){func(in *Input) { in.Facts.Bond, in.Now = away, noon(50) }}, false, "", "Pod was rejected: Allocate failed due to cannot allocate unregistered device vendor.test/gpu, which is unexpected"},
		"away, a static pod":  {[]func(*Input){func(in *Input) { in.Facts.Bond, in.Now, in.Desired.Source = away, noon(50), pod.FromFile }}, false, "device plugin of " + gpu, ""},
		"away, while it runs": {[]func(*Input){func(in *Input) { in.Facts.Bond, in.Now, in.Observed.Containers = away, noon(50), run }}, false, "", ""},
		"it failed":           {[]func(*Input){failed("")}, false, take, ""},
		"another plugin came": {[]func(*Input){failed(""), func(in *Input) { in.Facts.Bond = &allocate.Bond{Mark: 8} }}, true, "", ""},
		"40 refused":          {[]func(*Input){failed(reason.UnexpectedAdmissionError)}, false, "", "Pod was rejected: why"},
		"refused, handed out": {[]func(*Input){failed(reason.UnexpectedAdmissionError), func(in *Input) { in.Memory.Kept.Handed = &allocate.Handed{Boot: "b"} }}, false, "", ""},
		"not while it runs":   {[]func(*Input){func(in *Input) { in.Observed.Containers = run }}, false, "", ""},
		"for the next one":    {[]func(*Input){func(in *Input) { in.Observed.Containers = ran }}, true, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := podOf("1/:/")
			d.Source = pod.FromAPI
			in := Input{
				Desired: d, Now: noon(1),
				Memory: Memory{Stage: Preparing, Session: Session{Made: true}, Kept: Kept{
					Admitted: noon(0), Assigned: &allocate.Assigned{Containers: map[string]allocate.Part{"a": {Devices: map[string][]string{gpu: {"x"}}}}},
				}},
				Observed: pod.Observed{Inspected: noon(1), Sandboxes: []pod.Sandbox{{ID: "s1", Ready: true, Seen: noon(1)}}},
				Facts:    Facts{RuntimeUp: true, NetworkReady: true, Boot: "b", Bond: &allocate.Bond{Mark: 7}},
			}
			in.Desired.Wanted = true
			for _, change := range c.changes {
				change(&in)
			}
			p := Next(in)
			takes := slices.ContainsFunc(p.Effects, func(e Effect) bool { return e.Kind == TakeDevices })
			wait, stop := "", ""
			for _, w := range p.Waits {
				if w.For == take || w.For == "device plugin of "+gpu {
					wait = w.For
				}
			}
			if s := p.Memory.Kept.Stop; s != nil {
				stop = s.Message
			}
			if takes != c.takes || wait != c.wait || stop != c.stop {
				t.Errorf("takes %v, waits for %q, stops %q; want %v, %q, %q", takes, wait, stop, c.takes, c.wait, c.stop)
			}
			if slices.ContainsFunc(p.Effects, func(e Effect) bool { return e.Kind == CreateContainer }) {
				t.Error("a container is made before its devices were handed out")
			}
		})
	}
}

// TestAdmittedWithDevices: what admission gives is remembered with the admission, before anything is done about it (behaviour 238).
func TestAdmittedWithDevices(t *testing.T) {
	d := podOf("1/:/")
	d.Wanted = true
	a := &allocate.Assigned{Containers: map[string]allocate.Part{"a": {Devices: map[string][]string{"vendor.test/gpu": {"x"}}}}}
	in := Input{
		Desired: d, Now: noon(0), Observed: pod.Observed{Inspected: noon(0)},
		Facts: Facts{RuntimeUp: true, Verdict: Verdict{For: "device plugin of vendor.test/gpu", Message: "not yet", Until: noon(9)}},
	}
	p := Next(in)
	if len(p.Waits) != 1 || p.Waits[0] != (Wait{For: "device plugin of vendor.test/gpu", Detail: "not yet", Until: noon(9)}) || !p.WakeAt.Equal(noon(9)) {
		t.Errorf("it waits for %+v, until %v", p.Waits, p.WakeAt)
	}
	in.Facts.Verdict = Verdict{Judged: true, Admit: true, Assigned: a}
	if p = Next(in); p.Memory.Kept.Assigned != a || p.Memory.Kept.Admitted.IsZero() {
		t.Errorf("remembered %+v", p.Memory.Kept)
	}
	m := Learn(p.Memory, Outcome{Effect: Effect{Kind: TakeDevices}, Handed: &allocate.Handed{Boot: "b"}, Ended: noon(1).Add(time.Second)})
	if m.Kept.Handed == nil || m.Kept.Handed.Boot != "b" {
		t.Errorf("what was handed out is not remembered: %+v", m.Kept)
	}
}
