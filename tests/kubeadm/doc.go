// Package kubeadm sets up, changes and takes down a cluster with kubeadm, whose nodes run Bosun in the place of the kubelet:
// static pods for the control plane, TLS bootstrap, certificates, configuration and removal, all as kubeadm does it on machines.
//
// A machine is a set of namespaces with a containerd of its own ([testbed.Machine]); what kubeadm asks of systemd is answered by
// this package, which runs the unit kubelet with kubeadm's own drop-in.
package kubeadm
