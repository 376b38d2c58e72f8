// Package limits owns when the limits that hold for all pods together are written: those of the cgroup of all pods and
// of what is reserved for others (behaviours 207, 210), and what follows from what pods ask for: the weight
// of the burstable class (behaviour 206), and the memory that is kept from being reclaimed (behaviour 212).
//
// Both are written once the runtime answers, since it says how cgroups are made, and again each minute in case somebody
// else has changed them; the latter also soon after the pods have changed.
//
// Reads: whether the runtime is up, and the pods.
//
// Writes: the cgroups (Config.Cgroups), and notes about the node: one when the limits are first written, one for each new
// failure.
//
// Goroutines: none but Run's.
//
// Stops when: its context ends. The limits stay.
package limits
