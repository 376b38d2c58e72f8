// Package given owns what people have given to the node's own API: pods, ConfigMaps and Secrets, on disk, so that they are there
// again after a restart. One file an object, which only the agent's user may read, replaced whole; what is said to be kept is on
// the disk. The newest content is published for whoever follows it.
//
// Who writes decides: this package knows no rules but names.
package given
