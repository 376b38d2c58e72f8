package health

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// Result is what an answer, or several in a row, say.
type Result uint8

// The results. Unknown is no answer: the question itself could not be put. Void is none either: the container has ended
// while it was asked.
const (
	Unknown Result = iota
	Success
	Failure
	Void
)

// String returns the result as metrics spell it.
func (r Result) String() string {
	switch r {
	case Success:
		return "successful"
	case Failure:
		return "failed"
	case Unknown, Void:
	}
	return "unknown"
}

// Question is what is asked of a container.
type Question struct {
	Handler *v1.ProbeHandler
	Pod     *v1.Pod
	// Container is the probe's container: its ports give names to numbers, its literal variables go into a command.
	Container *v1.Container
	// ContainerID is the instance to run a command in.
	ContainerID string
	// IP is the pod's address; empty if it has none (yet).
	IP      string
	Timeout time.Duration
}

// Answer is what came back.
type Answer struct {
	Result Result
	// Warning tells of a success that a person should look at.
	Warning bool
	// Output is for people: what the container said, or why there was no answer.
	Output string
}

// Asked is an answer and the circumstances of its question.
type Asked struct {
	Result Result
	// Began is when the question was put.
	Began time.Time
	// Late tells that the agent was late while it waited: a failure is then not counted.
	Late bool
}
