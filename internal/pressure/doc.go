// Package pressure owns what a node does that runs short of memory, disk or process numbers (behaviours 42, 244 to 259, 293):
// it looks at what is left, says that the node is short, clears away what nobody needs, and ends one pod after the other until
// there is enough. It also ends pods that use more of the disk than their own limits allow (255). What is short, and which pod
// goes, is decided by package evict.
//
//	look ─► short? ─► clear away ─► look ─► still short? ─► order a pod to end ─► wait until it has gone ─► look
//
// Reads: what is left of memory, disks and process numbers, each ten seconds, and sooner when the kernel tells or when it
// dwindles quickly; the pods of the table; what pods use, when something is short or they have limits; its own file.
// Writes: Pressure, from which the node's status and admission have it; Orders, from which the workers have them; State, for
// people; notes about the node; its own file, which says what the node was short of to the agent's next life.
// Goroutines: two, one that looks and acts, one that listens to the kernel.
// Stops when: its context ends.
package pressure
