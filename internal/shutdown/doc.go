// Package shutdown owns what happens to the pods when the machine goes down (behaviours 305 to 310): it delays that by a lock,
// ends the pods in groups, from low priority to high, each with the time that the configuration leaves it, waits until the API
// server knows how they have ended, and lets the machine go.
//
//	unsure ──► staying ◄─────────────┬───────────┐  called off
//	   │          │ announced        │           │
//	   └──────────┴────► ending ──► telling ──► gone
//
// groups.go and schedule.go hold the rules, watch.go keeps the lock and hears of shutdowns, loop.go is what follows from that, and
// record.go what outlives the machine's life.
//
// Reads: what logind says; the pods of the table and what of them the API server has, while the machine goes down; its own file.
// Writes: State, from which the workers have their orders, admission its refusals and the node's status its "node is shutting
// down"; its own file; notes about the node; logind's settings, when they leave too little time.
// Goroutines: two, one for logind and one for the pods.
// Stops when: its context ends; then the lock is given back.
package shutdown
