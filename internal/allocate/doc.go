// Package allocate decides which processors, which NUMA nodes' memory and which devices a pod gets for itself, and who gives way
// to whom on a machine with several NUMA nodes (behaviours 40, 218, 232 to 239).
//
//	configuration, machine ─► RulesOf ─► Rules ─┐
//	what others hold ───────────────────────────┼─► Place ─► Assigned: the parts of each container, or an Obstacle
//	pod, devices ───────────────────────────────┘      │
//	                    offers of processors, memory, devices ─► Topology.Merge ─► the place that each is taken near to
//
// What is assigned belongs to the verdict of admission and is remembered with it; package pin acts on it, and writes the two files that
// CPUStateFile and MemoryStateFile hold, which Adopt reads.
package allocate
