package objects

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"time"

	authentication "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/backoff"
	"github.com/bosun-project/bosun/internal/content"
)

const (
	// longest is the age at which a token is renewed however long it holds, and jitter by how much earlier at most
	// (behaviour 181).
	longest = 24 * time.Hour
	jitter  = 10 * time.Second
	// look is how often tokens are looked at: timers stand still while a machine sleeps, and clocks are set.
	look = time.Minute
)

// pauses are those between attempts to get a token. The first are short, because the API server hears a moment late that a
// pod is on this node.
var pauses = backoff.Series{Initial: 50 * time.Millisecond, Max: 10 * time.Second}

// leaseKey is one token of one pod.
type leaseKey struct {
	pod   types.UID
	token content.Token
}

// lease is one token and its renewal. It has no text before the first answer; then
//
//	fresh ──(80 % of its life, or a day)──► due ──► over
//	  ▲──────────────renewed──────────────────┘
type lease struct {
	key             leaseKey
	namespace, name string
	// standing leases are renewed when they are due: a volume shows them. Others only when they are asked for.
	standing bool
	// made is when somebody first asked for it, perhaps before the pod was known.
	made time.Time

	text string
	// got is when the token was asked for, life how long it holds from then.
	got  time.Time
	life time.Duration
	// recalled tells that the token is a kept one, whose life is not known; it serves until the API server answers.
	recalled bool

	// asked tells that somebody has asked for a token that was due, asking that the API server is being asked.
	asked, asking bool
	// err is why the newest attempt failed; nil if it did not. next is then when to try again.
	err   error
	since time.Time
	pause time.Duration
	tried time.Time
	next  time.Time
	// read tells that somebody was given the token, or told that there is none.
	read bool
	// news is closed when any of this changes.
	news chan struct{}
}

// age is how much time has gone by between two moments. A clock that was set back hides nothing, a machine that slept neither.
func age(from, to time.Time) time.Duration {
	return oldest(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// oldest chooses between what the steady clock and the wall clock say.
func oldest(steady, wall time.Duration) time.Duration { return max(steady, wall) }

// holds tells whether the token can still be used.
func (e *lease) holds(now time.Time) bool {
	return e.text != "" && (e.recalled || age(e.got, now) < e.life)
}

// renewal is the age at which the token is due.
func (e *lease) renewal() time.Duration {
	at := min(e.life*8/10, longest)
	early := min(jitter, e.life/20)
	return at - (backoff.Jitter(early, 1, fmt.Sprint(e.key)) - early)
}

// due tells whether the token must be asked for now, and otherwise when to look again.
func (e *lease) due(now time.Time) (bool, time.Time) {
	switch {
	case e.asking:
		return false, time.Time{}
	case e.err != nil:
		return !now.Before(e.next), e.next
	case e.text == "" || e.recalled:
		return true, time.Time{}
	case !e.standing && !e.asked:
		return false, time.Time{}
	}
	left := e.renewal() - age(e.got, now)
	return left <= 0, now.Add(min(left, look))
}

// hold sees to it that there is a lease for each token a pod's volumes show.
func (l *Loop) hold(uid types.UID, u *user) {
	standing := map[content.Token]bool{}
	for _, t := range u.needs.Tokens {
		standing[t] = true
		l.lease(leaseKey{uid, t}, u.pod.Namespace, u.pod.Name)
	}
	for k, e := range l.leases {
		if k.pod == uid {
			e.standing = standing[k.token]
		}
	}
}

// lease finds or makes one.
func (l *Loop) lease(k leaseKey, namespace, name string) *lease {
	e := l.leases[k]
	if e == nil {
		now := time.Now()
		e = &lease{key: k, namespace: namespace, name: name, made: now, since: now, news: make(chan struct{})}
		l.leases[k] = e
	}
	return e
}

// dropLeases forgets the tokens of pods that are not wanted, unless they may not be known yet.
func (l *Loop) dropLeases(now time.Time, wake *alarm) {
	for k, e := range l.leases {
		if l.pods[k.pod] != nil {
			continue
		}
		if until := e.made.Add(l.cfg.Grace); !e.standing && now.Before(until) {
			wake.by(until)
			continue
		}
		close(e.news)
		delete(l.leases, k)
		l.forget(e.keptAs())
	}
}

// startLeases asks for the tokens that are due.
func (l *Loop) startLeases(ctx context.Context, work *sync.WaitGroup, now time.Time, wake *alarm) {
	for _, e := range l.leases {
		due, next := e.due(now)
		if due {
			e.asking, e.tried = true, now
			work.Go(func() { l.fetch(ctx, e) })
		} else if !next.IsZero() {
			wake.by(next)
		}
	}
}

// fetch asks for a token once.
func (l *Loop) fetch(ctx context.Context, e *lease) {
	t := e.key.token
	r := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{
		ExpirationSeconds: &t.Seconds,
		BoundObjectRef:    &authentication.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: e.name, UID: e.key.pod},
	}}
	if t.Audience != "" {
		r.Spec.Audiences = []string{t.Audience}
	}
	began := time.Now()
	answer, err := l.cfg.Cluster.Token(ctx, e.namespace, t.Account, r)
	if err == nil && (answer == nil || answer.Status.Token == "") {
		err = fmt.Errorf("the API server answered without a token")
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		l.failed(e, err)
	} else {
		l.renewed(e, answer, began)
	}
	l.wake()
}

func (l *Loop) renewed(e *lease, answer *authentication.TokenRequest, began time.Time) {
	l.mu.Lock()
	if l.leases[e.key] == e && e.read {
		l.dirty[e.key.pod] = true
	}
	e.text, e.got, e.recalled = answer.Status.Token, began, false
	e.life = lifeOf(answer, e.key.token.Seconds, began)
	e.asked, e.asking, e.err, e.pause, e.next, e.since = false, false, nil, 0, time.Time{}, began
	current := l.leases[e.key] == e
	if current {
		close(e.news)
		e.news = make(chan struct{})
	}
	l.mu.Unlock()
	if current && l.cfg.Keep != nil {
		kind, namespace, name := e.keptAs()
		kept := answer.DeepCopy()
		kept.Namespace, kept.Name = namespace, name // the answer has the name of the account, which has many tokens
		l.cfg.Keep.Store(kind, namespace, name, kept)
	}
}

// lifeOf is how long a token holds from when it was asked for: what the API server granted, or less if by this node's clock it
// ends earlier. A clock that runs ahead of the API server's must not make every token look over.
func lifeOf(answer *authentication.TokenRequest, asked int64, began time.Time) time.Duration {
	if answer.Spec.ExpirationSeconds != nil && *answer.Spec.ExpirationSeconds > 0 {
		asked = *answer.Spec.ExpirationSeconds
	}
	life := time.Duration(asked) * time.Second
	if left := answer.Status.ExpirationTimestamp.Sub(began); !answer.Status.ExpirationTimestamp.IsZero() && left > 0 {
		life = min(life, left)
	}
	return life
}

func (l *Loop) failed(e *lease, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.err == nil {
		e.since = time.Now()
		if e.text != "" { // otherwise whoever waits for it tells
			l.cfg.Log.Warn("cannot renew the token of a service account", "pod", e.namespace+"/"+e.name, "account", e.key.token.Account, "error", said(err))
		}
	}
	e.pause = pauses.Next(e.pause)
	e.asking, e.err, e.next = false, err, time.Now().Add(e.pause)
	if l.leases[e.key] == e {
		close(e.news)
		e.news = make(chan struct{})
	}
}

// nudgeLeases tries again at once what failed because the API server was away: it has just been heard.
func (l *Loop) nudgeLeases(now time.Time) {
	for _, e := range l.leases {
		if e.err != nil && !e.asking && away(e.err) && now.Sub(e.tried) >= time.Second {
			e.next, e.pause = now, 0
		}
	}
}

// keptAs is how the token is called where it is kept.
func (e *lease) keptAs() (kind, namespace, name string) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %d", e.key.token.Account, e.key.token.Audience, e.key.token.Seconds)
	return "TokenRequest", e.namespace, fmt.Sprintf("%s-%016x", e.key.pod, h.Sum64())
}

// recallLease takes the token that was kept for as long as the API server does not answer.
func (l *Loop) recallLease(e *lease) {
	if l.cfg.Keep == nil {
		return
	}
	kept, ok := l.cfg.Keep.Load(e.keptAs())
	if !ok {
		return
	}
	if r, ok := kept.(*authentication.TokenRequest); ok && r.Status.Token != "" {
		l.mu.Lock()
		defer l.mu.Unlock()
		if e.text == "" {
			e.text, e.recalled = r.Status.Token, true
		}
	}
}
