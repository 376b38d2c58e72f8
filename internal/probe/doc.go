// Package probe owns when containers are asked how they are, and what is known of their health (behaviours 115-131,
// 353, 354). One goroutine holds all probes in one heap with one timer: a probe that waits costs no goroutine and no
// wake-up. What answers mean is decided in package health.
//
// An answer is judged fairly. If the agent itself was late while a question was open (it was not scheduled, the machine
// slept, the clock jumped), a failure is not counted, and that is metered. To notice, the loop wakes ten times a second
// while a question is open, and only then. Commands that are just starting are few at a time, and never two at once in
// one container; other questions do not wait for slow ones.
//
// Reads: the pods and their containers (Config.Targets).
//
// Writes: the health of each probed container that runs (Loop.Health), notes, and the meter.
//
// Goroutines: the loop, and one for each question that is open, at most 512.
//
// Stops when: its context ends; open questions are given up.
package probe
