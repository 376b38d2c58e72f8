package certs

import (
	"fmt"
	"time"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

// overdueAfter is how long after the time for its renewal a certificate is overdue at most: an approval may take a day.
const overdueAfter = 24 * time.Hour

// An ageing tells of each certificate once that it should have been renewed long ago, and once that it has expired. It belongs to the
// goroutine of the certificate's loop.
type ageing struct {
	// what names the certificate for people.
	what  string
	notes note.Sink // may be nil

	of               string // which certificate was told of
	overdue, expired bool
}

// look tells what is to be told of p, and when to look again; zero for never. A certificate that Bosun does not renew has no renewAt.
func (a *ageing) look(p *pair, renewAt, now time.Time) time.Time {
	if p == nil || a.notes == nil {
		return time.Time{}
	}
	if a.of != p.sum {
		a.of, a.overdue, a.expired = p.sum, false, false
	}
	if p.expired(now) {
		if !a.expired {
			a.expired = true
			a.tell(now, reason.CertificateExpired, fmt.Sprintf("The %s certificate of this node expired at %s", a.what, stamp(p.leaf.NotAfter)))
		}
		return time.Time{}
	}
	late := overdueAt(renewAt, p.leaf.NotAfter)
	if late.IsZero() || a.overdue {
		return time.Time{}
	}
	if now.Before(late) {
		return late
	}
	a.overdue = true
	a.tell(now, reason.CertificateOverdueForRefresh, fmt.Sprintf("The %s certificate of this node was to be renewed at %s, which has not come about yet; it expires at %s",
		a.what, stamp(renewAt), stamp(p.leaf.NotAfter)))
	return time.Time{}
}

// overdueAt is when half of the time is gone that was left for a renewal, or a day after it was due.
func overdueAt(renewAt, end time.Time) time.Time {
	if renewAt.IsZero() {
		return time.Time{}
	}
	return renewAt.Add(min(overdueAfter, end.Sub(renewAt)/2))
}

func (a *ageing) tell(now time.Time, why, message string) {
	a.notes(note.Note{At: now, Level: note.Warning, Reason: why, Message: message, About: note.About{Kind: "Node"}})
}
