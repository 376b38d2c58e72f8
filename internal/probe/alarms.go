package probe

import (
	"container/heap"
	"time"
)

// alarms are the probes that wait for their time, the next one first. Each is in it at most once.
type alarms []*check

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].due.Before(a[j].due) }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].index, a[j].index = i, j
}

// Push is for package heap only.
func (a *alarms) Push(x any) {
	c := x.(*check)
	c.index = len(*a)
	*a = append(*a, c)
}

// Pop is for package heap only.
func (a *alarms) Pop() any {
	last := len(*a) - 1
	c := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	c.index = -1
	return c
}

// set puts a check at its time, or takes it out when that is zero.
func (a *alarms) set(c *check, due time.Time) {
	switch {
	case due.IsZero() && c.index >= 0:
		heap.Remove(a, c.index)
	case due.IsZero():
	case c.index < 0:
		c.due = due
		heap.Push(a, c)
	case !due.Equal(c.due):
		c.due = due
		heap.Fix(a, c.index)
	}
}

// next is when the first check is due; zero if none waits.
func (a alarms) next() time.Time {
	if len(a) == 0 {
		return time.Time{}
	}
	return a[0].due
}

// take returns a check whose time has come, or nil.
func (a *alarms) take(now time.Time) *check {
	if len(*a) == 0 || (*a)[0].due.After(now) {
		return nil
	}
	return heap.Pop(a).(*check)
}
