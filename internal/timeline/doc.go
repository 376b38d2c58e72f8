// Package timeline makes the spans of pods' lives (behaviour 337): one of each act, which is upstream's syncPod,
// syncTerminatingPod or syncTerminatedPod, and below it one of each effect, of admission, and of the wait for the pod's first
// being ready. The act in which a pod starts reaches from the first hearing of it to its being ready.
//
// It stands between the workers and what does their effects, and reads the table of pods for what no effect tells.
//
// Reads: the effects that begin and end, the table of pods.
// Writes: spans.
// Goroutines: one, while Run runs.
// Stops when: its context ends; acts under way end then.
package timeline
