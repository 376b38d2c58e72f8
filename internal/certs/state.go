package certs

import (
	"log/slog"
	"sync"
	"time"

	"github.com/bosun-project/bosun/internal/latest"
)

// State says how one certificate stands. Texts hold no secrets.
type State struct {
	// Subject is the common name in the certificate; empty while there is none.
	Subject string
	// NotBefore and NotAfter bound its life; zero while there is none.
	NotBefore, NotAfter time.Time
	// RenewAt is when the next one is asked for; zero if Bosun does not renew it.
	RenewAt time.Time
	// Request is the name of the certificate signing request under way, empty if none is, Since when it was made, and
	// Waiting a sentence on what it waits for, with the command that helps.
	Request string
	Since   time.Time
	Waiting string
	// Problem is what is wrong now, and stays until it is not; empty if nothing is.
	Problem string
}

// TTL is how long the certificate still lives: negative after its end, ok false while there is none.
func (s State) TTL(now time.Time) (ttl time.Duration, ok bool) {
	if s.NotAfter.IsZero() {
		return 0, false
	}
	return s.NotAfter.Sub(now), true
}

// The kinds of problems, the gravest first. Each is said in the log once, when it comes, and so is its end.
type trouble int

const (
	troubleFiles   trouble = iota // files that cannot be used
	troubleRequest                // the API does not give what is asked for
	troubleClock                  // not yet valid, or expired
	troubles
)

// A board publishes the State of one certificate. It is safe for use by several goroutines.
type board struct {
	log  *slog.Logger
	cell *latest.Cell[State]

	mu    sync.Mutex
	state State
	wrong [troubles]string
}

func newBoard(log *slog.Logger, cell *latest.Cell[State]) *board {
	if cell == nil {
		cell = new(latest.Cell[State])
	}
	return &board{log: log, cell: cell}
}

// change publishes what f makes of the state, if that is another one. f runs under the lock.
func (b *board) change(f func(*State)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.state
	f(&b.state)
	b.state.Problem = ""
	for _, text := range b.wrong {
		if b.state.Problem == "" {
			b.state.Problem = text
		}
	}
	if b.state != before {
		b.cell.Set(b.state)
	}
}

// complain notes a problem of a kind; an empty text ends it.
func (b *board) complain(kind trouble, text string) {
	b.change(func(*State) {
		was := b.wrong[kind]
		b.wrong[kind] = text
		switch {
		case text != "" && text != was:
			b.log.Warn("certificate", "problem", text)
		case text == "" && was != "":
			b.log.Info("certificate: no longer", "problem", was)
		}
	})
}

// shows publishes which pair is in use.
func (b *board) shows(p *pair, renewAt time.Time) {
	b.change(func(s *State) {
		s.Subject, s.NotBefore, s.NotAfter, s.RenewAt = "", time.Time{}, time.Time{}, renewAt
		if p != nil {
			s.Subject, s.NotBefore, s.NotAfter = p.subject(), p.leaf.NotBefore, p.leaf.NotAfter
		}
	})
}

// waits publishes which request is under way.
func (b *board) waits(request, sentence string, since time.Time) {
	b.change(func(s *State) {
		s.Request, s.Waiting, s.Since = request, sentence, since
	})
}
