package cluster

import (
	"net/http"
	"sync"
	"time"

	"github.com/bosun-project/bosun/internal/latest"
)

// Link tells whether the API server answers.
type Link struct {
	// Up is true when the newest request was answered, by whatever but a gateway's 502, 503 or 504.
	Up bool
	// Err is how the newest request failed, nil if it did not.
	Err error
	// Since is when it began to answer, or to fail.
	Since time.Time
}

// away is how long the API server must have failed for its next answer to count as a return. Without it, waiters would be woken by every
// good answer between bad ones.
const away = time.Second

type link struct {
	mu   sync.Mutex
	cell latest.Cell[Link]
	back chan struct{}
}

// whenBack returns a channel that is closed at the next return.
func (l *link) whenBack() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.back == nil {
		l.back = make(chan struct{})
	}
	return l.back
}

// moved wakes those who wait for a return: what they wait for is elsewhere now.
func (l *link) moved() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.back != nil {
		close(l.back)
		l.back = nil
	}
}

func (l *link) answered(status int, now time.Time) {
	if status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout {
		l.failed(statusError(status), now)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.cell.Value()
	if was.Up {
		return
	}
	l.cell.Set(Link{Up: true, Since: now})
	if was.Err != nil && now.Sub(was.Since) >= away && l.back != nil {
		close(l.back)
		l.back = nil
	}
}

func (l *link) failed(err error, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.cell.Value()
	if was.Err != nil && was.Err.Error() == err.Error() {
		return
	}
	next := Link{Err: err, Since: now}
	if was.Err != nil {
		next.Since = was.Since
	}
	l.cell.Set(next)
}

// statusError is a status code as an error.
type statusError int

func (s statusError) Error() string { return "the API server answers " + http.StatusText(int(s)) }
