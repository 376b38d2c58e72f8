// Command bosun is a kubelet: it runs the pods of one node, in a Kubernetes cluster or on a machine of its own.
package main
