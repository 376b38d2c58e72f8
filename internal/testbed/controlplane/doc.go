// Package controlplane gives tests and `make cluster` a real control plane on loopback: etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler, as `make tools` built them, with the authorizer, the admission and the
// certificates of a real cluster. Nodes are Node+RBAC authorized and restricted by NodeRestriction, and the audit log tells
// of every request, so that a test can prove that none was refused.
//
// [Start] and [Open] bring one up in some seconds; [Shared] is one for all tests of a binary, each with a [Plane.Namespace]
// of its own. [Plane.StartProxy] puts something between a node and the API server that is slow, forgetful or silent on demand.
//
// What is not there: kube-proxy and DNS. So the address of a Service leads nowhere, but its endpoints do.
//
// Every process dies with the program that started it, however that ends.
//
// Only tests, benchmarks and the program behind `make cluster` import this package.
package controlplane
