// Package mirror owns the mirror pods: for each static pod one pod in the API, so that people and the scheduler see it there
// (behaviours 13-16). They follow the static pods; nothing that happens to them has any effect on a static pod.
//
// decide.go holds the rule, object.go what a mirror looks like, mirror.go the loop. Their status is written by package report.
//
// Reads: the static pods (Config.Static), the pods of this node in the API (Config.API), the Node object (Config.Node).
//
// Writes: mirror pods in the API (Config.Cluster), and notes about static pods that cannot have one.
//
// Goroutines: Run's, and one for each call under way, at most four of them and one for a full name.
//
// Stops when: its context ends, and calls under way, which that cancels, have come back. The mirror pods stay.
package mirror
