// Package image owns bringing container images onto the node: what an image name means, whether the policy asks for
// a pull, which login is tried, how many pulls run at the same time, and what a failed one is called.
//
// Callers that want the same image with the same logins share one pull. Who no longer wants it leaves; when the last
// one has left, the pull is cancelled in the runtime and has ended before that caller returns. So no goroutine
// outlives the calls that needed it. Back-off after a failure is a decision and lives in package plan.
//
// What was pulled with whose login is on record, in a Book that survives restarts: an image that lies on the node is for those
// who have pulled it, unless the policy opens it (behaviours 164, 344). Logins themselves are never kept.
package image
