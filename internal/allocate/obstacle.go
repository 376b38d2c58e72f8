package allocate

import "time"

// An Obstacle is why a pod cannot have what it wants for itself: never, or not yet.
type Obstacle struct {
	// Reason is the word for never; it is empty while the pod has to wait, For something, and Until a time at most if that is not zero.
	Reason, For, Message string
	Until                time.Time
	// Detail is what it is that cannot be had: cpu, memory or topology; empty for devices.
	Detail string
}
