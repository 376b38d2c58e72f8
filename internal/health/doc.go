// Package health owns what the answers to a container's probes mean: when a probe is asked first and next, how many
// answers in a row change a result, which probe waits for which, and when a container has to be killed
// (behaviours 115-123, 128-130, 353, 354).
package health
