// Package host owns what the agent has to know of the machine it runs on before it can run a pod: its name, its
// addresses, its memory, processors and huge pages. It only reads.
package host
