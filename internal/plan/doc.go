// Package plan owns the decisions of one pod's life: Next says, from what is wanted, remembered, observed and known
// of the node, which effects should be in flight, what the pod waits for, and when to look again; Learn says what
// the outcome of an effect adds to memory. Everything here is a pure function over plain values: no I/O, no clock,
// no lock. One file per stage.
package plan
