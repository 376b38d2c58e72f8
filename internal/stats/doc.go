// Package stats reads what the node, its pods and their containers use: the files of cgroups v1 and v2, /proc, the
// counters of network interfaces, how full file systems are and what directories take, and from the runtime what
// containers wrote (behaviours 196, 341, 363). It tells in the words of package usage.
//
// Nothing is read unless somebody asks. Askers at about the same time share one reading. The only goroutine is that of
// Run: it measures directories, which may take long, one after the other, when an asker has found a measurement too old;
// askers get the older one, and wait a moment only for the first.
package stats
