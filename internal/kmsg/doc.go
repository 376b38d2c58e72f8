// Package kmsg owns the reading of the kernel's log, for one thing that only the kernel tells: which process it has killed because
// memory ran out, and whether that was the whole machine's memory or that of one cgroup.
//
// It blocks until the kernel says something, and begins with what is said from then on.
package kmsg
