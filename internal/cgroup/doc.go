// Package cgroup owns the cgroups above the containers: the kubepods tree, one cgroup for each QoS class and one for
// each pod (behaviours 200 to 207, 211, 216, 219, 364). Containers' own cgroups belong to the runtime.
//
// names.go and resources.go are pure: how things are called for the two drivers, and how much a pod gets.
// Tree does the rest, on cgroup v1 and v2. With the cgroupfs driver it makes directories and writes the few files
// that differ from the kernel's defaults; that costs a fraction of a millisecond. With the systemd driver it goes
// through opencontainers/cgroups, which speaks to systemd over D-Bus.
//
// Paths below the cgroup mounts need no safepath: no tenant can make a symbolic link there, and the only part a
// tenant chooses, the pod's UID, is checked to be one ordinary path element.
package cgroup
