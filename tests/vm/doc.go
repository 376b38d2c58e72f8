// Package vm runs Bosun in a virtual machine: a Debian kernel with cgroup v2 in QEMU, emulated, so that it works where
// there is no KVM and where the machine itself has cgroup v1 only.
//
// A control plane on this machine, where it is quick, has the other one as its node in a part of the tests.
//
// The machine has no userland but what is tested: containerd, runc, CNI plugins, images, bosun, and the test binary of the
// package guest, which is its init. What its tests say on the console become subtests here.
package vm
