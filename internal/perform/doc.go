// Package perform carries out the effects that workers ask for, through the runtime, the image puller, volumes, cgroups,
// hooks and the files of a pod. It decides nothing: what it is asked, it does once, and it says how that went.
//
// Reads: the node's settings, newest first.
// Writes: nothing of its own but what it remembers of the volumes it has set up.
// Goroutines: none.
// Stops when: it does not run; each call returns soon after its context ended.
package perform
