// Package guest holds the tests that run inside the virtual machine of tests/vm: Bosun on a machine with cgroup v2.
//
// Its test binary is the whole of that machine's userland: as process 1 it sets the machine up (init_test.go), then it
// runs itself as the tests, which start containerd and bosun (node_test.go). On any other machine the binary only says
// where it belongs.
package guest
