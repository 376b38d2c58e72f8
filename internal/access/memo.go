package access

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// memo remembers answers for a while, and has equal questions that come at the same time asked once.
type memo[V any] struct {
	mu sync.Mutex
	// good and bad answers are kept apart, so that those who guess cannot push out those who know.
	good, bad shelf[V]
	asked     map[key]*asking[V]
	// behind is told of those who begin (1) and cease (-1) to wait for the question of somebody else; may be nil.
	behind func(change int)
}

// keep says how long an answer holds, 0 not at all, and whether it is a bad one.
type keep struct {
	lasts time.Duration
	bad   bool
}

// asking is a question on its way. answer and err are set when done is closed.
type asking[V any] struct {
	done   chan struct{}
	answer V
	err    error
	// left tells that the one who asked has left before the answer: it says nothing to those who wait.
	left bool
}

func newMemo[V any](most int) *memo[V] {
	return &memo[V]{good: newShelf[V](most), bad: newShelf[V](most), asked: map[key]*asking[V]{}}
}

// get returns the answer to a question: one that is remembered, or that somebody else is getting, or asks. Whoever asks
// does it for all who wait; when they leave, the next one asks.
func (m *memo[V]) get(ctx context.Context, k key, ask func(context.Context) (V, keep, error)) (V, error) {
	for {
		m.mu.Lock()
		now := time.Now()
		if answer, ok := m.good.get(k, now); ok {
			m.mu.Unlock()
			return answer, nil
		}
		if answer, ok := m.bad.get(k, now); ok {
			m.mu.Unlock()
			return answer, nil
		}
		a := m.asked[k]
		if a == nil {
			a = &asking[V]{done: make(chan struct{})}
			m.asked[k] = a
			m.mu.Unlock()
			return m.lead(ctx, k, a, ask)
		}
		m.mu.Unlock()
		if err := m.wait(ctx, a); err != nil {
			var none V
			return none, err
		}
		if !a.left {
			return a.answer, a.err
		}
	}
}

// wait returns when somebody else's question is answered, or ctx ends.
func (m *memo[V]) wait(ctx context.Context, a *asking[V]) error {
	if m.behind != nil {
		m.behind(1)
		defer m.behind(-1)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-a.done:
		return nil
	}
}

// lead asks for everybody.
func (m *memo[V]) lead(ctx context.Context, k key, a *asking[V], ask func(context.Context) (V, keep, error)) (V, error) {
	var hold keep
	a.left = true // unless ask returns
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.asked, k)
		switch {
		case a.left || a.err != nil || hold.lasts <= 0:
		case hold.bad:
			m.bad.put(k, a.answer, time.Now().Add(hold.lasts))
		default:
			m.good.put(k, a.answer, time.Now().Add(hold.lasts))
		}
		close(a.done)
	}()
	a.answer, hold, a.err = ask(ctx)
	a.left = a.err != nil && ctx.Err() != nil
	return a.answer, a.err
}

// shelf keeps a bounded number of answers; the one not asked for longest goes first.
type shelf[V any] struct {
	most  int
	byKey map[key]*list.Element
	// order has what was asked for last in front.
	order *list.List
}

type kept[V any] struct {
	key    key
	answer V
	until  time.Time
}

func newShelf[V any](most int) shelf[V] {
	return shelf[V]{most: most, byKey: map[key]*list.Element{}, order: list.New()}
}

func (s *shelf[V]) get(k key, now time.Time) (answer V, ok bool) {
	e := s.byKey[k]
	if e == nil {
		return answer, false
	}
	found := e.Value.(*kept[V])
	if !now.Before(found.until) {
		s.drop(e)
		return answer, false
	}
	s.order.MoveToFront(e)
	return found.answer, true
}

func (s *shelf[V]) put(k key, answer V, until time.Time) {
	if e := s.byKey[k]; e != nil {
		s.drop(e)
	}
	s.byKey[k] = s.order.PushFront(&kept[V]{k, answer, until})
	if s.order.Len() > s.most {
		s.drop(s.order.Back())
	}
}

func (s *shelf[V]) drop(e *list.Element) {
	delete(s.byKey, s.order.Remove(e).(*kept[V]).key)
}
