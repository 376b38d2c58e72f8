package evict

import (
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Signal names something the node can run short of, as configuration and metrics do (behaviour 244). Upstream also has the
// signals containerfs.available and containerfs.inodesFree. They are not here because they decide nothing: that file system is
// the one of nodefs or of imagefs, with the same thresholds.
type Signal string

// The signals.
const (
	MemoryAvailable   Signal = "memory.available"
	PodsMemory        Signal = "allocatableMemory.available" // of what all pods together may use
	NodeFSAvailable   Signal = "nodefs.available"
	NodeFSInodesFree  Signal = "nodefs.inodesFree"
	ImageFSAvailable  Signal = "imagefs.available"
	ImageFSInodesFree Signal = "imagefs.inodesFree"
	PIDAvailable      Signal = "pid.available"
)

// urgency is the order in which shortages are dealt with: memory first, since a machine without it does nothing else well
// (behaviour 249).
var urgency = map[Signal]int{
	MemoryAvailable: 0, PodsMemory: 1, NodeFSAvailable: 2, NodeFSInodesFree: 3, ImageFSAvailable: 4, ImageFSInodesFree: 5, PIDAvailable: 6,
}

// Known tells whether there is such a signal.
func (s Signal) Known() bool {
	_, known := urgency[s]
	return known
}

// OnDisk tells whether it is about a file system.
func (s Signal) OnDisk() bool { return s.Condition() == v1.NodeDiskPressure }

func (s Signal) onImageFS() bool { return s == ImageFSAvailable || s == ImageFSInodesFree }
func (s Signal) inodes() bool    { return strings.HasSuffix(string(s), ".inodesFree") }

// The words for resources that no pod can ask for.
const (
	inodes v1.ResourceName = "inodes"
	pids   v1.ResourceName = "pids"
)

// Resource is what the node is low on when the signal is, as messages and events name it.
func (s Signal) Resource() v1.ResourceName {
	switch s {
	case MemoryAvailable, PodsMemory:
		return v1.ResourceMemory
	case NodeFSAvailable, ImageFSAvailable:
		return v1.ResourceEphemeralStorage
	case NodeFSInodesFree, ImageFSInodesFree:
		return inodes
	case PIDAvailable:
		return pids
	}
	return v1.ResourceName(s)
}

// Condition is what the node says of itself when the signal is short (behaviour 248).
func (s Signal) Condition() v1.NodeConditionType {
	switch s.Resource() {
	case v1.ResourceMemory:
		return v1.NodeMemoryPressure
	case pids:
		return v1.NodePIDPressure
	}
	return v1.NodeDiskPressure
}

// quantity is an amount of what the signal counts, as messages show it.
func (s Signal) quantity(n int64) resource.Quantity {
	format := resource.BinarySI
	if s.inodes() || s == PIDAvailable {
		format = resource.DecimalSI
	}
	return *resource.NewQuantity(n, format)
}

// Layout is how the file systems of the node, its images and its containers lie (behaviour 257).
type Layout uint8

// The layouts.
const (
	// Unknown: the runtime has not told yet where its images are.
	Unknown Layout = iota
	// One file system has all.
	One
	// Dedicated: images and containers are on one of their own.
	Dedicated
	// Split: images are on one of their own, containers are on the node's.
	Split
)

// Reading is what was found of a signal.
type Reading struct {
	// Available and Capacity are in bytes, inodes or process numbers.
	Available, Capacity int64
	// Doubt is set where there is another, kinder opinion; nil where there is none.
	Doubt *Doubt
}

// Doubt is what the kernel thinks of a shortage of memory. By upstream's measure files that are held in memory and were read
// more than once are in use; but the kernel gives that memory to whoever needs it (pains, row 16). So memory counts as short
// only if the kernel agrees: there is too little that it could give away, or not much more while programs already wait for it.
type Doubt struct {
	// Spare is how many bytes the kernel could give to programs.
	Spare int64
	// Stalled is the share of the last ten seconds in which no program got on for want of memory, from 0 to 100; less than 0
	// if the kernel does not tell.
	Stalled float64
}

// stalledEnough is the share of time, in percent, from which on programs plainly suffer; and nearlyFull the part of the capacity
// that may be spare beyond the threshold for that to be the node's concern: a container at its own limit stalls, too, and counts in
// the pressure of everything above it.
const (
	stalledEnough = 5
	nearlyFull    = 10 // a tenth
)

// Readings are those of one look.
type Readings struct {
	At     time.Time
	Of     map[Signal]Reading
	Layout Layout
}

// usable tells whether a reading says anything: a file system without a fixed number of inodes has none (behaviour 259).
func (r Reading) usable() bool { return r.Capacity > 0 }

// below tells whether less is available than least.
func (r Reading) below(least int64) bool {
	if !r.usable() || r.Available >= least {
		return false
	}
	d := r.Doubt
	return d == nil || d.Spare < least || d.Stalled >= stalledEnough && d.Spare < least+r.Capacity/nearlyFull
}
