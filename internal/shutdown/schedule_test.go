package shutdown

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/reason"
)

// turn is what happens at some moment, and what follows.
type turn struct {
	at   time.Duration
	rest string // the pods that have ended by now
	come []Pod
	// orders are all orders given so far, as "a=20s b=10s".
	orders string
	wake   time.Duration // -1 for never
	over   bool
}

func TestSchedule(t *testing.T) {
	three := []Group{{0, 20 * s}, {100, 10 * s}, {2000000000, 5 * s}}
	low, mid, high := Pod{UID: "low", Grace: 30 * s}, Pod{UID: "mid", Priority: 100, Grace: 3 * s}, Pod{UID: "high", Priority: 2000001000, Grace: 30 * s}
	for name, c := range map[string]struct {
		groups []Group
		pods   []Pod
		// resumed is how long ago an earlier life of the agent began with it.
		resumed time.Duration
		turns   []turn
	}{
		"no pods": {groups: three, turns: []turn{{wake: -1, over: true}}},
		"one group after the other, each with the lesser of its own grace and the period": {
			groups: three, pods: []Pod{high, mid, low},
			turns: []turn{
				{at: 0, orders: "low=20s", wake: 20 * s},
				{at: 7 * s, rest: "low", orders: "low=20s mid=3s", wake: 17 * s},
				{at: 8 * s, rest: "mid", orders: "high=5s low=20s mid=3s", wake: 13 * s},
				{at: 9 * s, rest: "high", orders: "high=5s low=20s mid=3s", wake: -1, over: true},
			},
		},
		"nobody is waited for longer than the period": {
			groups: three, pods: []Pod{high, mid, low},
			turns: []turn{
				{at: 0, orders: "low=20s", wake: 20 * s},
				{at: 20 * s, orders: "low=20s mid=3s", wake: 30 * s},
				{at: 22 * s, rest: "mid", orders: "high=5s low=20s mid=3s", wake: 27 * s},
				{at: 27 * s, orders: "high=5s low=20s mid=3s", wake: -1, over: true},
			},
		},
		"groups without pods are passed over": {
			groups: three, pods: []Pod{high}, turns: []turn{{at: 0, orders: "high=5s", wake: 5 * s}},
		},
		"what has ended before gets no order": {
			groups: three, pods: []Pod{{UID: "old", Rested: true}, high}, turns: []turn{{at: 0, orders: "high=5s", wake: 5 * s}},
		},
		"a pod below all groups ends with the first": {
			groups: []Group{{100, 4 * s}}, pods: []Pod{{UID: "a", Priority: -7, Grace: 30 * s}}, turns: []turn{{at: 0, orders: "a=4s", wake: 4 * s}},
		},
		"a pod that shows up when its group has had its turn": {
			groups: three, pods: []Pod{mid},
			turns: []turn{
				{at: 0, orders: "mid=3s", wake: 10 * s},
				{at: 4 * s, come: []Pod{low}, orders: "low=6s mid=3s", wake: 10 * s},
				{at: 5 * s, rest: "mid", orders: "low=6s mid=3s", wake: 10 * s},
				{at: 6 * s, rest: "low", orders: "low=6s mid=3s", wake: -1, over: true},
				{at: 7 * s, come: []Pod{{UID: "last", Grace: 30 * s}}, orders: "last=1s low=6s mid=3s", wake: -1, over: true},
			},
		},
		"a group without time is ended and not waited for": {
			groups: []Group{{0, 10 * s}, {2000000000, 0}}, pods: []Pod{low, high},
			turns: []turn{
				{at: 0, orders: "low=10s", wake: 10 * s},
				{at: 2 * s, rest: "low", orders: "high=1s low=10s", wake: -1, over: true},
			},
		},
		"an agent that was started again has only what is left": {
			groups: three, pods: []Pod{low, mid, high}, resumed: 25 * s,
			turns: []turn{
				{at: 0, orders: "low=1s mid=3s", wake: 5 * s},
				{at: 3 * s, rest: "mid", orders: "high=5s low=1s mid=3s", wake: 8 * s},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			sched := schedule{groups: c.groups, began: now.Add(-c.resumed), since: now}
			pods := slices.Clone(c.pods)
			for _, step := range c.turns {
				pods = append(pods, step.come...)
				for i := range pods {
					pods[i].Rested = pods[i].Rested || pods[i].UID == types.UID(step.rest)
				}
				before := orders(sched)
				next, wake := sched.next(pods, now.Add(step.at))
				if orders(sched) != before {
					t.Errorf("at %v the schedule before was changed", step.at)
				}
				sched = next
				if got := orders(sched); got != step.orders {
					t.Errorf("at %v the orders are %q, want %q", step.at, got, step.orders)
				}
				got := time.Duration(-1)
				if !wake.IsZero() {
					got = wake.Sub(now)
				}
				if got != step.wake || sched.over() != step.over {
					t.Errorf("at %v it looks again at %v and is over is %v, want %v and %v", step.at, got, sched.over(), step.wake, step.over)
				}
			}
		})
	}
}

func orders(sched schedule) string {
	var out []string
	for uid, o := range sched.orders {
		text := fmt.Sprintf("%s=%v", uid, o.Grace)
		if o.Reason != reason.Terminated || o.Message != message {
			text += " " + o.Reason + ": " + o.Message
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
