// Package observe owns the agent's knowledge of what the container runtime has: it keeps the pods' workers informed
// and tells how the runtime itself fares.
//
// An event of the runtime is handed on at once, as a partial report, and is not believed beyond that: it may be an
// old story. What an event leaves open is answered by an inspection of that pod. A listing of everything, compared
// with the last one, finds what events have missed; it is slow while the event stream stands and quick while there
// is none. One pod whose inspection hangs holds up no other.
//
// # Reads
//
// The runtime: version, status, events, listings, inspections; and Look, by which others ask for an inspection.
//
// # Writes
//
// Reports, to the Receiver; the cells of Health and Listing; notes when the runtime goes and comes back, and when it does not
// answer about a pod.
//
// # Goroutines
//
// Run has four: one asks for the runtime's status, one follows its events, one lists, one hands out inspections.
// Each inspection has a goroutine of its own; there is at most one for a pod.
//
// # Stops when
//
// The context ends. Run returns when all of these have ended.
package observe
