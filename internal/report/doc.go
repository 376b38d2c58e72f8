// Package report owns what the API server is told of the pods of this node: it is the one writer of their status there,
// and the one that deletes them for good when all of them is gone (behaviours 266, 267, 269, 274, 279-282).
//
// Nothing is remembered: what has to be told follows from what the agent says of a pod and what the API server has of it,
// so nothing is lost when the API server or the agent was away. merge.go, patch.go and decide.go hold the rules, pace.go how
// fast the API server is asked, line.go what is known of one pod, report.go the loop.
//
// Reads: the table of pods (Config.Pods), and the pods of this node as the API server has them (Config.API).
//
// Writes: the status of pods in the API, and final deletes (Config.Cluster); what waits to be told (Reporter.State, Reporter.Pod).
//
// Goroutines: Run's, and one for each call under way, at most Config.Parallel of them and one for a pod.
//
// Stops when: its context ends, and calls under way, which that cancels, have come back.
package report
