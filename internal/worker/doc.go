// Package worker keeps one pod one goroutine: it plans, remembers, acts, and publishes, over and over, until the pod
// is done. The Set starts a worker for each pod that is wanted or left over, asks admission, and hands each worker
// what the sources, the runtime and the node say.
//
// Reads: what the sources want, reports of the runtime, the runtime's health, the ledger's records.
// Writes: the table of pods (the only writer), the ledger's pod records (the only writer).
// Goroutines: the Set's loop, one per pod, one per effect in flight.
// Stops when: its context ends; containers go on, effects in flight are cancelled and waited for.
package worker
