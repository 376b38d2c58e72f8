// Package staging lets volumes go that are staged on the node and that no pod uses any more: since their last pod left, or since a crash
// in the middle of that. The pod itself does not wait for it.
//
// Each volume is let go by itself, with growing pauses while that fails; a driver that comes is tried at once.
//
// Reads: which volumes are staged without a pod, and when a pod has left or a driver has come.
//
// Writes: nothing but through Unstage.
//
// Goroutines: Run's, and one for each volume that is being let go.
//
// Stops when: its context ends. What is staged then is found again.
package staging
