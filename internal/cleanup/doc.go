// Package cleanup owns looking for what is of no use any more on the node, as upstream does it: now and then.
//
// Cleaner looks for what pods have left although nobody knows of it: directories, logs, cgroups, dead links to logs. It removes
// nothing of a pod itself: it tells the workers, who clean up under the same rules as ever, so that a pod that has just come
// back is safe (behaviours 192, 216, 261). Directories of logs may be another agent's: they only lend names to pods that are
// found elsewhere.
//
// Images removes images that nobody uses (behaviour 167), Containers says which ended containers have to go though their pods
// would keep them (behaviour 260). Each has a verb Collect, for who needs room at once. What is garbage is decided by package
// collect; until it is known what is wanted nothing is.
//
// Reads: the lists of pod directories, log directories and pod cgroups; the images of the runtime and the disk they are on; which
// images are in use; the ended containers of all pods.
// Writes: removes dead links in /var/log/containers and images; the cell of doomed containers; notes about the node.
// Goroutines: none but those of the three Runs.
// Stops when: its context ends.
package cleanup
