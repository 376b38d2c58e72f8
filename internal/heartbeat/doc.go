// Package heartbeat owns the node's membership in the cluster: it registers the Node object, keeps its status and its
// lease, and registers it again when it was deleted (behaviours 284 to 304). What is written is decided in nodestatus.
//
// A change of the status is told as soon as it is known, one request at a time: at once when a condition turns, else in
// step with a pause that grows under a storm of changes. With nothing to tell there are six renewals of the lease a
// minute, and one status each report interval. The lease has a goroutine of its own: it never waits behind a status.
//
// The API server's troubles are logged once when they begin and once when they end, and are in State meanwhile.
//
// Reads: the facts of the node, the node's own object as it is followed, whether the API server has come back.
// Writes: the Node object of this node: its existence, its default labels and own annotations, its status; the lease of
// that name; State; notes about the node. Nobody else in the agent writes these objects, but for what package csinode says of CSI drivers.
// Goroutines: two, one for the node and one for the lease.
// Stops when: its context ends. Nothing is written then: a node whose agent has ended for a moment stays as it is.
package heartbeat
