// Package usage names what a node, its pods and their containers use of processors, memory, disks and network: plain
// values, as package stats reads them and as package exposition and others tell them.
//
// What could not be read is unknown (a Number that is not Known, a nil pointer), never 0.
package usage
