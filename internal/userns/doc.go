// Package userns owns the host ids of pods that have a user namespace of their own (spec.hostUsers: false).
//
// Each such pod has a range of host ids to itself, the same for users and groups. The ranges come from what the
// operator delegated to the user kubelet (getsubids, or /etc/subuid and /etc/subgid), or lie right above the ids of the
// host. A pod's range is recorded in <root>/pods/<uid>/userns before it is used, and read back by New, so that it
// outlives the agent; no id is given to a second pod while the first one's directory exists.
//
// The runtime shows volumes through id-mapped mounts, so their files keep the ids the pod speaks of. Files the agent
// bind-mounts into containers itself (the hosts file, the file of a termination message) are not mapped: who makes them
// must give them to the pod's first host id, see First.
package userns
