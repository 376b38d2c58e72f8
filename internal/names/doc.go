// Package names owns the contract with the outside that is made of strings: the labels and annotations on sandboxes
// and containers, the layout of the state directory and of the log directory, and the names built from them.
// They are as the upstream kubelet 1.37 writes them, so that tools which read them (crictl, log collectors,
// cAdvisor, a rollback to the upstream kubelet) find what they expect.
package names
