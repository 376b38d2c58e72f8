package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is everything that is wrong with one manifest.
type Error struct {
	// Origin is the file or URL.
	Origin string
	// Documents is how many documents the manifest holds; the messages name the document when there are several.
	Documents int
	Faults    []Fault
}

// Fault is one thing that is wrong.
type Fault struct {
	// Document counts from 1; 0 is the manifest as a whole.
	Document int
	// Line counts from 1 in the whole manifest; 0 if it is not known.
	Line int
	// Pod is "namespace/name", empty if the manifest did not get that far.
	Pod string
	// Object is what it is about that is no pod, such as "configmap default/settings".
	Object string
	// Field is the path of the field, such as spec.containers[0].image; empty if it is not about one.
	Field string
	// Message says what is wrong and what would be right, with the value where it is no secret.
	Message string
	// Refers is the kind of API object that the field names, when that is what is wrong (behaviour 11).
	Refers string
}

// String returns the fault on one line, without its document number.
func (f Fault) String() string {
	var where []string
	if f.Line > 0 {
		where = append(where, fmt.Sprintf("line %d", f.Line))
	}
	if f.Pod != "" {
		where = append(where, "pod "+f.Pod)
	}
	if f.Object != "" {
		where = append(where, f.Object)
	}
	parts := make([]string, 0, 3)
	if len(where) > 0 {
		parts = append(parts, strings.Join(where, ", "))
	}
	if f.Field != "" {
		parts = append(parts, f.Field)
	}
	return strings.Join(append(parts, f.Message), ": ")
}

// sort puts the faults in the order in which a reader of the manifest meets them.
func (e *Error) sort() {
	slices.SortStableFunc(e.Faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Document, b.Document), cmp.Compare(a.Line, b.Line))
	})
}

// Messages returns the faults one line each.
func (e *Error) Messages() []string {
	out := make([]string, 0, len(e.Faults))
	for _, f := range e.Faults {
		s := f.String()
		if e.Documents > 1 && f.Document > 0 {
			sep := ", "
			if f.Line == 0 && f.Pod == "" && f.Object == "" {
				sep = ": "
			}
			s = fmt.Sprintf("document %d%s%s", f.Document, sep, s)
		}
		out = append(out, s)
	}
	return out
}

// Error lists every fault.
func (e *Error) Error() string {
	m := e.Messages()
	if len(m) == 1 {
		return e.Origin + ": " + m[0]
	}
	return fmt.Sprintf("%s: %d problems:\n  - %s", e.Origin, len(m), strings.Join(m, "\n  - "))
}

// quote shows a value in a message: in quotes, and cut when long.
func quote(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
