package reason

// Reasons of the condition PodResizePending (behaviours 223, 224). That of PodResizeInProgress is Error, or none.
const (
	Deferred   = "Deferred"
	Infeasible = "Infeasible"
)

// Reasons of events about resizes (behaviours 229, 313).
const (
	ResizeDeferred   = "ResizeDeferred"
	ResizeInfeasible = "ResizeInfeasible"
	ResizeStarted    = "ResizeStarted"
	ResizeCompleted  = "ResizeCompleted"
	ResizeError      = "ResizeError"
)
