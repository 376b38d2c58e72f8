// Package nodestatus owns what a node is to the cluster: what it has to give (its capacity, what is kept back for the
// system and the agent, what is left for pods), the Node object it registers, and the status it reports (behaviours
// 284 to 304). Pure functions over the machine's size, the configuration and what is known of the node now.
//
// A status is always made from the one before: what others wrote stays (volumesAttached, conditions of other types,
// extended resources), and times move only when what they tell of has changed. Patch writes down the difference in a
// way that cannot touch what is not the node's own, however old the one before is.
package nodestatus
