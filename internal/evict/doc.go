// Package evict decides what a node does that runs short of memory, disk or process numbers: which thresholds are met, what the
// node says of itself for that, what is to be cleared away first, which pod has to go next and in which words, and when to look
// again (behaviours 42, 244 to 259, 293). It also tells which pods use more of the disk than their own limits allow (255).
//
//	readings ─► Look ─► pressure, shortages, when to look again
//	             │ the most urgent shortage, when its grace is over
//	             ▼
//	         Steps: what to clear away first ─► still short? ─► Pick: the pod that goes ─► Order: how it is told to
//
// Package pressure reads, asks and acts; package signals is where readings come from. Nothing here reads a clock or a file.
package evict
