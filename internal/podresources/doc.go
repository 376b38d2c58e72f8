// Package podresources answers at pod-resources/kubelet.sock which devices, processors and memory pods have for themselves, and what
// of these there is to be had at all. Exporters of device metrics and network plugins ask there.
//
// Everything is read from published tables: what a pod has is what its ledger record says.
//
// Reads: the table of pods, what device plugins have told.
//
// Writes: nothing.
//
// Goroutines: Run's, and those of connections.
//
// Stops when: its context ends.
package podresources
