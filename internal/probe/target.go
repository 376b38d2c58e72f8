package probe

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/health"
	"github.com/bosun-project/bosun/internal/pod"
)

// Target is one pod as the loop has to know it. Targets are never changed after they were handed on.
type Target struct {
	// Version tells targets of one pod apart: one that equals the last seen is not looked at again. It must be
	// comparable; nil means that the target is always looked at.
	Version any
	Desired *pod.Desired
	// Containers are the pod's instances in the runtime, newest first.
	Containers []pod.Container
	// IP is the pod's address; in the node's network, the node's. Empty while there is none.
	IP string
	// Stopping tells that the pod is being stopped (behaviour 128).
	Stopping bool
	// Hooked holds the IDs of containers whose postStart hook has not succeeded yet: they are not asked before.
	Hooked map[string]bool
	// Before holds what was reported of instances before this agent began, by container ID (behaviour 354).
	Before map[string]health.Before
}

// Asker puts a question. An error means that it could not be put. It returns soon after the question's timeout, and
// soon after ctx ends.
type Asker interface {
	Ask(ctx context.Context, q health.Question) (health.Answer, error)
	// Ended tells whether a container is known not to run any more.
	Ended(ctx context.Context, containerID string) bool
}

// Which names a probe.
type Which struct {
	Pod       *v1.Pod
	Container string
	Kind      health.Kind
}

// Meter counts what happens to probes. It is called by one goroutine and must not block.
type Meter interface {
	// Asked is told of each answer that counts, and of each question that could not be put (health.Unknown). Durations
	// of failures are no part of prober_probe_duration_seconds (behaviour 130).
	Asked(w Which, r health.Result, took time.Duration)
	// Forgiven is told of each failure that is not counted because the agent was late by so much.
	Forgiven(w Which, late time.Duration)
	// Forget is told when a probe will not be asked any more: its series can go (behaviour 130).
	Forget(w Which)
}

// unmetered counts nothing.
type unmetered struct{}

func (unmetered) Asked(Which, health.Result, time.Duration) {}
func (unmetered) Forgiven(Which, time.Duration)             {}
func (unmetered) Forget(Which)                              {}
