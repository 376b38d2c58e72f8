// Package preflight owns the answer to "can pods run on this machine, and if not, what is missing and how is it mended".
// `bosun check` prints it; `bosun up` and the kubelet look at it before they start.
//
// Gather reads the machine and decides nothing; Judge decides and reads nothing, so each of its rules is tested on
// made-up machines. Check is both. Gather changes nothing but for one overlay mount that it takes away at once, and takes a
// few milliseconds: it runs no program.
package preflight
