// Package containerlog owns the log files that the container runtime writes: reading them in the CRI format and in
// docker's JSON format, from the end, since a time, or following them across rotations; and rotating them.
//
// Files are opened beneath the pod's log directory only and never through a symbolic link, because a container with
// /var/log mounted could have put one there.
package containerlog
