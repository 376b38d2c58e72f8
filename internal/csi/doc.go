// Package csi owns the conversation with CSI drivers: which of them have registered, what each can do, and the calls of the
// node service by which volumes come to pods and go again (behaviour 184). It decides nothing about volumes and touches no
// path itself; package volume says what is to be staged and published, and where.
//
// Each driver has a connection of its own, and every call a time limit, so a driver that hangs holds up only its own volumes.
// Secrets go to the driver and nowhere else: what a driver repeats of them in an error is taken out.
package csi
