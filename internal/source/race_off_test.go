//go:build !race

package source

// raceFactor is how much slower the race detector may make everything.
const raceFactor = 1
