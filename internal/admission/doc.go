// Package admission owns the node's last word on a pod: Judge says whether it may run here beside the pods that do, and
// if not, why (behaviours 12, 29-44). What a pod gets for itself, package allocate chooses.
package admission
