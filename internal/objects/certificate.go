package objects

import (
	"context"
	"crypto"
	"fmt"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/backoff"
	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

// overdueAfter is how long after the time for its renewal a pod's certificate is overdue at most, and spread by how much later it
// is renewed at most, so that those of many pods are not all asked for at once.
const (
	overdueAfter = 10 * time.Minute
	spread       = time.Minute
)

var (
	// refusals are the pauses after a signer has said no: only a person's doing changes that.
	refusals = backoff.Series{Initial: time.Minute, Max: time.Hour}
	// hasty are the pauses after certificates that were due already when they were issued.
	hasty = backoff.Series{Initial: time.Second, Max: 10 * time.Minute}
)

// certificateKey is one certificate of one pod.
type certificateKey struct {
	pod types.UID
	of  content.Certificate
}

// certificate is a pod's key and what was issued for it, and the request for the next (behaviour 182). The keys are in memory only: after
// a restart there is another request, as upstream makes one.
//
//	none ──issued──► fresh ──beginRefreshAt──► due ──► overdue ──► expired
//	                   ▲─────────────issued─────┴─────────┴──────────┘
//
// A request that was denied, has failed or is gone is followed by another one, with another key, after a pause.
type certificate struct {
	key    certificateKey
	pod    *v1.Pod
	source *v1.PodCertificateProjection
	// standing ones are renewed: a volume shows them. Others are those of a pod that is not known yet.
	standing bool
	made     time.Time
	stop     context.CancelFunc

	credential content.Credential
	// refresh and end are when it has to be renewed and when it expires.
	refresh, end time.Time
	// overdue and expired tell that the pod's events say so.
	overdue, expired bool

	// asking tells that a request is under way. It has a name once it is at the API server, and signer is its key.
	asking  bool
	request string
	signer  crypto.Signer
	// err is why the newest attempt came to nothing; nil if it did not. next is then when to try again.
	err   error
	since time.Time
	pause time.Duration
	next  time.Time
	// read tells that somebody was given it, or told that there is none.
	read bool
	// news is closed when any of this changes.
	news chan struct{}
}

// holds tells whether there is a certificate that can still be used.
func (c *certificate) holds(now time.Time) bool {
	return len(c.credential.Key) > 0 && now.Before(c.end)
}

// due tells whether it must be asked for now, and otherwise when to look again.
func (c *certificate) due(now time.Time) (bool, time.Time) {
	at := c.refresh
	switch {
	case c.asking:
		return false, time.Time{}
	case c.err != nil || now.Before(c.next):
		at = c.next
	case len(c.credential.Key) == 0:
		return true, time.Time{}
	}
	return !now.Before(at), now.Add(min(at.Sub(now), look))
}

// holdCertificates sees to it that there is one for each source of a pod's volumes that wants one.
func (l *Loop) holdCertificates(uid types.UID, u *user) {
	standing := map[content.Certificate]bool{}
	for _, of := range u.needs.Certificates {
		standing[of] = true
		l.certificate(certificateKey{uid, of}, u.pod)
	}
	for k, c := range l.certificates {
		if k.pod == uid {
			c.standing = standing[k.of]
		}
	}
}

// certificate finds or makes one; nil if the pod wants none there.
func (l *Loop) certificate(k certificateKey, p *v1.Pod) *certificate {
	c := l.certificates[k]
	if source := content.CertificateSource(p, k.of); c == nil && source != nil {
		now := time.Now()
		c = &certificate{key: k, pod: p, source: source, made: now, since: now, news: make(chan struct{})}
		l.certificates[k] = c
	}
	return c
}

// dropCertificates forgets those of pods that are not wanted, unless they may not be known yet.
func (l *Loop) dropCertificates(now time.Time, wake *alarm) {
	for k, c := range l.certificates {
		if l.pods[k.pod] != nil {
			continue
		}
		if until := c.made.Add(l.cfg.Grace); !c.standing && now.Before(until) {
			wake.by(until)
			continue
		}
		if c.stop != nil {
			c.stop()
		}
		close(c.news)
		delete(l.certificates, k)
	}
}

// startCertificates asks for those that are due.
func (l *Loop) startCertificates(ctx context.Context, work *sync.WaitGroup, now time.Time, wake *alarm) {
	for _, c := range l.certificates {
		l.tellAge(c, now, wake)
		due, next := c.due(now)
		if due {
			var asking context.Context
			asking, c.stop = context.WithCancel(ctx)
			c.asking = true
			work.Go(func() { l.obtain(asking, c) })
		} else if !next.IsZero() {
			wake.by(next)
		}
	}
}

// tellAge tells once that a certificate should have been renewed long ago, and once that it has expired.
func (l *Loop) tellAge(c *certificate, now time.Time, wake *alarm) {
	if len(c.credential.Key) == 0 || c.expired {
		return
	}
	late := c.refresh.Add(min(overdueAfter, c.end.Sub(c.refresh)/2))
	switch {
	case !now.Before(c.end):
		c.expired = true
		l.noteCertificate(c, now, reason.CertificateExpired, fmt.Sprintf("The certificate of signer %q in volume %q expired at %s",
			c.source.SignerName, c.key.of.Volume, c.end.Format(time.RFC3339)))
	case now.Before(late):
		wake.by(now.Add(min(late.Sub(now), look)))
	default:
		if !c.overdue {
			c.overdue = true
			l.noteCertificate(c, now, reason.CertificateOverdueForRefresh, fmt.Sprintf(
				"The certificate of signer %q in volume %q was to be renewed at %s, which has not come about yet; it expires at %s",
				c.source.SignerName, c.key.of.Volume, c.refresh.Format(time.RFC3339), c.end.Format(time.RFC3339)))
		}
		wake.by(now.Add(min(c.end.Sub(now), look)))
	}
}

// noteCertificate tells the pod's events, once the lock is free.
func (l *Loop) noteCertificate(c *certificate, now time.Time, why, message string) {
	if l.cfg.Notes == nil {
		return
	}
	about := note.About{Kind: "Pod", Namespace: c.pod.Namespace, Name: c.pod.Name, UID: c.pod.UID}
	l.kept = append(l.kept, func() {
		l.cfg.Notes(note.Note{At: now, About: about, Level: note.Warning, Reason: why, Message: message})
	})
}

// nudgeCertificates tries again at once what failed because the API server was away: it has just been heard.
func (l *Loop) nudgeCertificates(now time.Time) {
	for _, c := range l.certificates {
		if c.err != nil && !c.asking && !refused(c.err) && away(c.err) && c.pause > time.Second {
			c.next, c.pause = now, 0
		}
	}
}

// waits names it for people.
func (c *certificate) waits() string {
	what := fmt.Sprintf("certificate of signer %q for volume %q", c.source.SignerName, c.key.of.Volume)
	if c.request != "" {
		what += fmt.Sprintf(" (PodCertificateRequest %s/%s)", c.pod.Namespace, c.request)
	}
	return what
}

// state is what the certificate is called in numbers.
func (c *certificate) state(now time.Time) string {
	switch {
	case len(c.credential.Key) == 0 && c.err != nil && refused(c.err):
		return "denied"
	case len(c.credential.Key) == 0:
		return "initial"
	case !c.holds(now):
		return "expired"
	case c.overdue:
		return "overdue_for_refresh"
	}
	return "fresh"
}

// CertificateState is what Certificates counts by.
type CertificateState struct {
	Signer string
	// State is initial, fresh, overdue_for_refresh, expired or denied.
	State string
}

// Certificates counts the certificates of pods.
func (l *Loop) Certificates() map[CertificateState]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	count, now := map[CertificateState]int{}, time.Now()
	for _, c := range l.certificates {
		count[CertificateState{c.source.SignerName, c.state(now)}]++
	}
	return count
}
