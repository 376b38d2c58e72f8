// Package qos owns what the resource requests and limits of a pod mean as a whole: its quality of service class, whether
// it is critical to the node, the sums of its requests and limits, and how ready the kernel should be to kill each of its
// containers when memory runs out. Pure functions over the pod's specification.
package qos
