// Package fault owns the classes of failure that the caller of an outside part must tell apart: is it away, did it
// not find the thing, can it not do this at all. The parts (the container runtime, the API server, registries) mark
// their errors with a class; callers ask with errors.Is and need not know which part or protocol an error came from.
package fault
