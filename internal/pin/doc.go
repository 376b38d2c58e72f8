// Package pin owns on which processors containers run while they run: those that have none of their own share what is left, and what is left
// changes when a pod with processors of its own comes or goes (behaviours 90, 232). It also owns the two files in which a kubelet tells others
// who has which processors and memory.
//
// What is left follows from what the pods' plans remember; nothing is kept here but what the runtime was told last. A change of the pods is
// answered at once. Now and then the kernel is asked whether what was told still holds, in case somebody else has changed it.
//
// Reads: the pods with what they have for themselves and their containers, whether the runtime is up, the kernel's cpusets.
//
// Writes: the processors of containers, through the runtime; the files cpu_manager_state and memory_manager_state, which nobody else writes.
//
// Goroutines: Run's, and a few more while several containers are told at once.
//
// Stops when: its context ends. Containers stay where they are.
package pin
