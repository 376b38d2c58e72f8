// Package agent puts one node's agent together: it builds the parts, runs them, and stops them in order. It knows no
// business facts; the adapters here only fit one part's words to another's.
package agent
