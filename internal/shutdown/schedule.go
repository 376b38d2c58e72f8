package shutdown

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/reason"
)

// Pod is a pod that runs on the node, or did.
type Pod struct {
	UID      types.UID
	Priority int32
	// Grace is the pod's own.
	Grace time.Duration
	// Rested tells that it has ended and uses nothing of the node any more, its volumes included.
	Rested bool
}

// message is what the status of a pod says that was ended (behaviour 307).
const message = "Pod was terminated in response to imminent node shutdown."

// least is the shortest grace that a pod is given.
const least = time.Second

// schedule is how far the groups have got. It is a value: next returns a new one.
type schedule struct {
	groups []Group
	began  time.Time
	// at is the group whose turn it is, len(groups) when all have had theirs; since is when that began.
	at    int
	since time.Time
	// orders are those given so far. The map is never changed.
	orders map[types.UID]*plan.Order
	// late are pods that had not ended when the time of their group was over. Nobody waits for them any more.
	late map[types.UID]bool
}

// next takes the schedule on. A pod is told to end when the turn of its group comes, with its own grace or what is left of the
// group's period, whichever is less; the turn is over when all pods of the group rest, or the period is over. What comes late
// to a group that has had its turn ends with the present one. wake is when time alone changes the answer.
func (s schedule) next(pods []Pod, now time.Time) (after schedule, wake time.Time) {
	s.late = maps.Clone(s.late)
	orders := maps.Clone(s.orders)
	if orders == nil {
		orders = map[types.UID]*plan.Order{}
	}
	for s.at < len(s.groups) {
		end := s.end()
		waiting := s.order(orders, pods, now, end)
		if len(waiting) > 0 && now.Before(end) {
			wake = end
			break
		}
		for _, uid := range waiting {
			if s.late == nil {
				s.late = map[types.UID]bool{}
			}
			s.late[uid] = true
		}
		s.at, s.since = s.at+1, now
	}
	if s.at == len(s.groups) { // what comes now, has no time at all
		s.order(orders, pods, now, now)
	}
	s.orders = orders
	return s, wake
}

// order gives orders to all whose turn it is, or was, and returns those of them that have yet to end.
func (s *schedule) order(orders map[types.UID]*plan.Order, pods []Pod, now, end time.Time) (waiting []types.UID) {
	for _, p := range pods {
		if p.Rested || groupOf(s.groups, p.Priority) > s.at {
			continue
		}
		if orders[p.UID] == nil {
			orders[p.UID] = &plan.Order{Reason: reason.Terminated, Message: message, Grace: min(p.Grace, max(end.Sub(now), least))}
		}
		if !s.late[p.UID] {
			waiting = append(waiting, p.UID)
		}
	}
	return waiting
}

// end is when the turn of the present group is over: its period after it began, and not later than if all groups before had used
// all of theirs. That makes a difference only when an agent has been started again on the way.
func (s *schedule) end() time.Time {
	own := s.since.Add(s.groups[s.at].Period)
	if all := s.began.Add(Total(s.groups[:s.at+1])); all.Before(own) {
		return all
	}
	return own
}

// over tells that all groups have had their turn.
func (s *schedule) over() bool { return s.at >= len(s.groups) }
