// Command bench measures agents against the floor: the same pods, with the same configurations, made with bare CRI calls
// on the same runtime. All do the same work in turns within one run, so what the machine does besides hits all of them.
//
// It has two parts. In the first, Bosun has pods from files. In the second there is a control plane, and Bosun and the
// upstream kubelet are by turns its only node, with the same flags and configuration, a directory of their own, and no Node
// object from before. Pods name their node, so that the scheduler takes no part.
//
// What each agent asked for it tells by itself; when pods run and when they are gone, an observer of the runtime's
// own event stream tells, the same for all. In the cluster, it also watches the pods of the API server: a pod is there
// when its condition Ready is seen in the watch, and gone when the watch says that it is deleted; both count from before
// the request that asks for it. `make bench` runs it; options.go lists the variables that steer it.
package main
