package evict

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Every is how often the node is looked at when nothing happens (behaviour 246).
const Every = 10 * time.Second

// soonest is how soon it is looked at again when it runs short quickly.
const soonest = 250 * time.Millisecond

// Memory is what is remembered between looks. The zero Memory is that of an agent that has just started.
type Memory struct {
	// Met are the thresholds that are met.
	Met map[Key]Met
	// Pressed is when each condition was last the case.
	Pressed map[v1.NodeConditionType]time.Time
	// Last are the readings of the look before.
	Last Readings
}

// Pressed is what is remembered of an agent that was there before and left these conditions.
func Pressed(conditions []v1.NodeConditionType, now time.Time) Memory {
	m := Memory{Pressed: map[v1.NodeConditionType]time.Time{}}
	for _, c := range conditions {
		m.Pressed[c] = now
	}
	return m
}

// Met is a threshold that is met.
type Met struct {
	// Since is when it was first met.
	Since time.Time
	// Due tells that its grace is over, so that pods have to go until there is some more than it wants.
	Due bool
}

// Shortage is a threshold that is met.
type Shortage struct {
	Threshold
	Met
	Reading Reading
}

// View is what a look comes to.
type View struct {
	Memory Memory
	// Pressure are the conditions that the node has, in a fixed order.
	Pressure []v1.NodeConditionType
	// Short are the thresholds that are met, the most urgent first.
	Short []Shortage
	// LookAt is when to look again.
	LookAt time.Time
}

// Urgent is the shortage that pods have to go for now; false if there is none.
func (v View) Urgent() (Shortage, bool) {
	for _, s := range v.Short {
		if s.Due {
			return s, true
		}
	}
	return Shortage{}, false
}

// Look judges readings by what was remembered (behaviours 246 to 249, 256).
func Look(s Settings, before Memory, r Readings, now time.Time) View {
	v := View{Memory: Memory{Met: map[Key]Met{}, Pressed: map[v1.NodeConditionType]time.Time{}, Last: r}, LookAt: now.Add(Every)}
	for _, t := range s.Thresholds {
		reading, known := r.Of[t.Signal]
		was, had := before.Met[t.Key()]
		if !known {
			if had { // it cannot be read just now: what was the case stays the case
				v.Memory.Met[t.Key()] = was
				v.Memory.Pressed[t.Signal.Condition()] = now
			}
			continue
		}
		v.LookAt = earlier(v.LookAt, t.nearing(before.Last, r, now))
		if !t.met(reading, was) {
			continue
		}
		m := Met{Since: now}
		if had && was.Since.Before(now) { // the clock may have been set back
			m = was
		}
		m.Due = m.Due || !t.Soft || !now.Before(m.Since.Add(t.Grace))
		if !m.Due {
			v.LookAt = earlier(v.LookAt, m.Since.Add(t.Grace))
		}
		v.Memory.Met[t.Key()] = m
		v.Memory.Pressed[t.Signal.Condition()] = now
		v.Short = append(v.Short, Shortage{t, m, reading})
	}
	v.hold(s, before, now)
	return v
}

// met tells whether there is too little. Once pods had to go, that is so until there is some more (behaviour 256).
func (t Threshold) met(r Reading, was Met) bool {
	least := t.Least.Of(t.Signal, r.Capacity)
	return r.below(least.Value()) || was.Due && r.below(t.over(r.Capacity))
}

// nearing is when to look again lest a threshold is passed unseen: in half the time in which it will be reached if things go
// on as they did between the last look and this one (pains, row 17).
func (t Threshold) nearing(last, r Readings, now time.Time) time.Time {
	was, known := last.Of[t.Signal]
	is, passed := r.Of[t.Signal], r.At.Sub(last.At)
	lost := was.Available - is.Available
	least := t.Least.Of(t.Signal, is.Capacity)
	left := is.Available - least.Value()
	if !known || passed <= 0 || lost <= 0 || left <= 0 {
		return now.Add(Every)
	}
	due := time.Duration(float64(passed) * float64(left) / float64(lost) / 2)
	return now.Add(max(min(due, Every), soonest))
}

// hold fills in the conditions: what is the case, and what was until not long ago.
func (v *View) hold(s Settings, before Memory, now time.Time) {
	for _, c := range []v1.NodeConditionType{v1.NodeMemoryPressure, v1.NodeDiskPressure, v1.NodePIDPressure} {
		at, is := v.Memory.Pressed[c]
		if was, had := before.Pressed[c]; had && !is {
			at, is = was, true
			if at.After(now) { // the clock was set back
				at = now
			}
			if !now.Before(at.Add(s.Hold)) {
				continue
			}
			v.LookAt = earlier(v.LookAt, at.Add(s.Hold))
		}
		if is {
			v.Memory.Pressed[c] = at
			v.Pressure = append(v.Pressure, c)
		}
	}
}

// Over tells whether a shortage is over by newer readings. What cannot be read is not over.
func (s Shortage) Over(r Readings) bool {
	reading, known := r.Of[s.Signal]
	return known && !reading.below(s.over(reading.Capacity))
}

// Lacking is how much must become available until the shortage is over.
func (s Shortage) Lacking() int64 { return s.over(s.Reading.Capacity) - s.Reading.Available }

// LackingBytes is Lacking where that is in bytes, else 0.
func (s Shortage) LackingBytes() int64 {
	if s.Signal.inodes() || s.Signal == PIDAvailable {
		return 0
	}
	return s.Lacking()
}

// String says in numbers what is short.
func (s Shortage) String() string {
	kind := "evictionHard"
	if s.Soft {
		kind = "evictionSoft"
	}
	least, available := s.Least.Of(s.Signal, s.Reading.Capacity), s.Signal.quantity(s.Reading.Available)
	return fmt.Sprintf("%s is %s, and should be %s (%s)", s.Signal, available.String(), least.String(), kind)
}

// Leasts are how little may be left of the signals for memory: the most that a threshold wants of each.
func Leasts(s Settings, r Readings) map[Signal]int64 {
	out := map[Signal]int64{}
	for _, t := range s.Thresholds {
		if reading, known := r.Of[t.Signal]; known && t.Signal.Condition() == v1.NodeMemoryPressure {
			least := t.Least.Of(t.Signal, reading.Capacity)
			out[t.Signal] = max(out[t.Signal], least.Value())
		}
	}
	return out
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
