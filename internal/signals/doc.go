// Package signals reads how much of its memory, disks and process numbers the node has left, and what pods use of them, for
// those who decide about evictions (behaviours 244, 246, 257, 259). It tells in the words of package evict.
//
// Read costs a dozen small files and calls; it is for every few seconds. Measure walks through directories and asks the
// runtime; it is for when something is short, and for pods with limits of their own. Watch waits, without a goroutine that
// wakes by itself, for the kernel to tell that programs wait for memory.
package signals
