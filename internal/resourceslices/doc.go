// Package resourceslices takes out of the cluster what drivers of dynamic resource allocation offer on this node when they are gone
// (behaviour 242): their ResourceSlices. A driver has a while to come back, after its end as after the start of the agent; so an
// update of it costs nothing. Nothing is taken while the API server is away, and nothing of a driver that is back.
//
// Reads: which drivers can be reached; once, the drivers of which there are ResourceSlices of this node.
//
// Writes: it deletes ResourceSlices. Nobody else here does; the drivers write their own.
//
// Goroutines: Run's, and one for a deletion under way.
//
// Stops when: its context ends.
package resourceslices
