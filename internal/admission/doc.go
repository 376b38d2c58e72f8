// Package admission owns the node's last word on a pod: Judge says whether it may run here beside the pods that do, and
// if not, why (behaviours 12, 29-44). What needs an API server or allocates single devices is not judged here.
package admission
