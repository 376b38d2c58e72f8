// Package engine owns the nouns of the container runtime as a whole: what it is, how it fares, what it can do, the
// cheap listing of what it has, and the events it sends. They pass between package runtime, which speaks CRI, and
// the loops that ask it. What it has of one pod is in package pod.
package engine
