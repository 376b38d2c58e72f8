// Package runtime owns the conversation with the container runtime: CRI v1 over a Unix socket. Client has one verb
// for each thing the agent asks of a runtime; the verbs decide nothing and remember nothing. What the runtime says
// is translated into the agent's own nouns (packages pod and engine) in report.go, by pure functions that take
// whatever a runtime may answer.
//
// Every call but an image pull and the event stream has a time limit (behaviours 166, 330), is counted and timed
// through Config.Observe, and fails with an error that says what was done to which object and is marked with a class
// of package fault. A call whose context was cancelled by the caller fails with context.Canceled; one that the
// runtime dropped while it went down fails with fault.ErrUnavailable.
package runtime
