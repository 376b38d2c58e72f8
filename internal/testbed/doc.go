// Package testbed gives tests and benchmarks a real container runtime of their own: containerd, runc, a CNI network and,
// where asked, a registry, all built by `make tools images`.
//
// A test binary that uses it runs inside its own PID, mount, network and cgroup namespaces (see [Main]), with its own
// /run, /var/log and /var/lib. So parallel runs never meet, fixed ports and paths are free to use, and when the
// binary ends, however it ends, the kernel takes every process, mount, interface and firewall rule with it. What the kernel
// leaves, one scratch directory and one cgroup, the supervisor removes, or the next run if the supervisor was killed too.
//
// Only tests and benchmarks import this package.
package testbed
