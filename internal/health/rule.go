package health

import (
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/backoff"
)

// Kind is what a probe is for.
type Kind uint8

// The kinds.
const (
	Startup Kind = iota
	Liveness
	Readiness
)

// Kinds is how many kinds of probes a container can have.
const Kinds = 3

// String returns the kind as events and metrics spell it.
func (k Kind) String() string {
	switch k {
	case Startup:
		return "Startup"
	case Liveness:
		return "Liveness"
	case Readiness:
		return "Readiness"
	}
	return "Probe?"
}

// word is the kind within a sentence.
func (k Kind) word() string {
	switch k {
	case Startup:
		return "startup"
	case Liveness:
		return "liveness"
	case Readiness:
		return "readiness"
	}
	return "unknown"
}

// Rule is how one probe is asked and judged. A Rule is never changed.
type Rule struct {
	Kind Kind
	// Delay is how long after its container's start a probe is asked first; Period the time from question to question.
	Delay, Period time.Duration
	// Timeout is how long an answer may take.
	Timeout time.Duration
	// Successes and Failures are how many answers of a kind in a row change the result.
	Successes, Failures int32
	// Grace overrides the pod's grace when the container is killed for this probe; nil if it does not.
	Grace *time.Duration
	// Exec tells that the question costs a process in the container.
	Exec bool
	// Seed spreads the probe in time: another seed, another moment.
	Seed string
}

// The API's defaults (behaviour 115), for objects that have not been through it.
const (
	defaultPeriod   = 10 * time.Second
	defaultTimeout  = time.Second
	defaultFailures = 3
)

// ruleOf reads a probe.
func ruleOf(kind Kind, p *v1.Probe, seed string) *Rule {
	r := &Rule{
		Kind: kind, Seed: seed + "/" + kind.word(), Exec: p.Exec != nil,
		Delay: seconds(p.InitialDelaySeconds, 0), Period: seconds(p.PeriodSeconds, defaultPeriod), Timeout: seconds(p.TimeoutSeconds, defaultTimeout),
		Successes: p.SuccessThreshold, Failures: p.FailureThreshold,
	}
	if r.Successes < 1 || kind != Readiness { // the API allows nothing else
		r.Successes = 1
	}
	if r.Failures < 1 {
		r.Failures = defaultFailures
	}
	if g := p.TerminationGracePeriodSeconds; g != nil && kind != Readiness {
		grace := time.Duration(*g) * time.Second
		r.Grace = &grace
	}
	return r
}

func seconds(n int32, otherwise time.Duration) time.Duration {
	if n <= 0 {
		return otherwise
	}
	return time.Duration(n) * time.Second
}

// Late tells whether an agent that was late by so much while a question was open may itself be why it failed: by a
// quarter of what the answer may take, at most a second.
func (r *Rule) Late(lag time.Duration) bool {
	return lag >= min(r.Timeout/4, time.Second)
}

// share is a part of the period, from nothing up to less than all of it, that differs from probe to probe.
func (r *Rule) share(of time.Duration) time.Duration {
	return backoff.Jitter(of, 1, r.Seed) - of
}

// after is when to ask again: a period after this question was due, so that the rhythm holds however long answers take;
// at once if that is over already. Periods that passed before it was asked are left out.
func (r *Rule) after(due, began, now time.Time) time.Time {
	if missed := began.Sub(due); missed >= r.Period {
		due = due.Add(missed.Truncate(r.Period))
	}
	next := due.Add(r.Period)
	if next.Before(now) {
		return now
	}
	return next
}
