// Package cleanup looks, now and then, for what pods have left on the node although nobody knows of it: directories,
// logs, cgroups, dead links to logs. It removes nothing of a pod itself: it tells the workers, who clean up under the
// same rules as ever, so that a pod that has just come back is safe (behaviours 192, 216, 261).
//
// Directories of logs may be another agent's: they only lend names to pods that are found elsewhere.
//
// Reads: the lists of pod directories, log directories and pod cgroups.
// Writes: removes dead links in /var/log/containers.
// Goroutines: one.
// Stops when: its context ends.
package cleanup
