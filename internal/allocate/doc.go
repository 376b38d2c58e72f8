// Package allocate decides which processors, which NUMA nodes' memory and which devices a pod gets for itself, and who gives way
// to whom on a machine with several NUMA nodes (behaviours 40, 218, 232 to 239).
package allocate
