// Package keep owns the files from which a node goes on while the API server cannot be asked: the pods that it has
// accepted, and the ConfigMaps and Secrets that they use.
//
// Without --offline-restart they are kept in memory only (a tmpfs), so that the agent may be restarted while the API server
// is away: pods go on being probed, restarted and told of their volumes, and nothing outlives the machine. With it they are
// kept on disk, and pods accepted before a reboot run again. Either way only root can read them; Secrets are in them.
//
// # Reads
//
// Its own files, once at start; the pods of the table.
//
// # Writes
//
// Its own files, in a directory that nobody else uses. A pod's file goes when the API server no longer names the pod.
//
// # Goroutines
//
// Run has none beside itself.
//
// # Stops when
//
// The context ends.
package keep
