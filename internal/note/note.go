package note

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Level tells how a reader should show a note.
type Level int

const (
	// Normal is an expected step in a life.
	Normal Level = iota
	// Warning is something that went wrong and that the user may have to mend.
	Warning
)

// String returns the level as events spell it.
func (l Level) String() string {
	if l == Warning {
		return "Warning"
	}
	return "Normal"
}

// About names the object a note is about. Kind is "Pod", "Node", or, for what is not an API object,
// "Manifest" (Name is then the file or URL).
type About struct {
	Kind      string
	Namespace string
	Name      string
	UID       types.UID
	// Container is the container's name, empty for the whole object.
	Container string
	// FieldPath is the event's involvedObject.fieldPath, such as spec.containers{app}.
	FieldPath string
}

// Note is one happening. Reason is a word of package reason; Message is for people and carries no secrets.
type Note struct {
	At      time.Time
	About   About
	Level   Level
	Reason  string
	Message string
	// Annotations are what tools read beside the message; readers of events show them as annotations of the event.
	Annotations map[string]string
	// Minor notes are steps on the way to what another note tells, say in one word what the one before says in full, or
	// what their maker has logged already. Readers of events go by them; a log need not show them.
	Minor bool
	// Count is how many times the same happening was noted, and Since when first; readers that merge notes set them.
	Count int
	Since time.Time
}

// Sink receives notes. It must not block and must be safe for use by several goroutines.
type Sink func(Note)
