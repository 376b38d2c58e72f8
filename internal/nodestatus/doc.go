// Package nodestatus owns what a node has to give: its capacity, what is kept back for the system and the agent, and
// what is left for pods. Pure functions over the machine's size and the configuration.
package nodestatus
