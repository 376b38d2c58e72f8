// Package csinode tells the cluster which CSI drivers the node has: in the node's CSINode object, and in an annotation and labels of its
// Node object (behaviours 184, 195, 288).
//
// What another life of the agent has told of a driver stays until that driver registers again, or goes while this one looks: drivers
// register a moment after the agent has started, and nothing is to flicker until then.
//
// Reads: the drivers that are registered, the Node object as it is followed.
//
// Writes: the CSINode object of this node; of the Node object the annotation csi.volume.kubernetes.io/nodeid and the labels that
// drivers ask for; State.
//
// Refresh has drivers asked again how many of their volumes the node may have, where their CSIDriver objects say how often.
//
// Goroutines: Run's of Loop; of Refresh Run's, one that follows the CSIDriver objects, and one for each driver while it is asked.
//
// Stops when: its context ends. Nothing is taken back then.
package csinode
