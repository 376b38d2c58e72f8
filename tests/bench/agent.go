package main

import (
	"context"
	"fmt"
	"time"
)

// A kind is how pods are made.
type kind int

// The kinds of pods that are measured.
const (
	plain kind = iota // nothing but a container
	fed               // with a ConfigMap, a Secret and a token of its service account as volumes
)

// An agent makes pods run. Bosun is one, bare CRI calls are another, and any kubelet can be: one more type with these
// verbs. Only one agent at a time has pods on the runtime, because an agent ends pods that nobody asked it for.
type agent interface {
	name() string
	// start makes the agent ready to be asked for pods. It has none.
	start(ctx context.Context) error
	// prepare does what comes before asking for pods, such as writing manifests elsewhere. It is never timed.
	prepare(k kind, pods []string) error
	// add asks for prepared pods, all at once, and returns when they are asked for. What goes wrong later ends ctx.
	add(ctx context.Context, pods []string) error
	// remove asks for the end of pods, and returns when that is asked for.
	remove(ctx context.Context, pods []string) error
	// there and gone are when a pod is what was asked for, and when it is no more; the zero time until then.
	there(times) time.Time
	gone(times) time.Time
	// clean takes away what the agent would leave behind of pods that are gone. It is never timed.
	clean(pods []string) error
	// stop ends the agent. It has no pods.
	stop(ctx context.Context) error
	// said is the end of the agent's log, for when something went wrong.
	said() string
	// process is the agent's process ID, or 0 if it has none of its own.
	process() int
}

// podNames gives names of one length that were not used before: configurations are made from a recorded one by
// putting another name in.
type podNames struct{ used int }

func (n *podNames) next(count int) []string {
	names := make([]string, 0, count)
	for range count {
		n.used++
		names = append(names, fmt.Sprintf("bench-%05d", n.used))
	}
	return names
}
