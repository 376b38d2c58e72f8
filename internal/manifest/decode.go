package manifest

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
)

// MaxBytes is how long a manifest may be.
const MaxBytes = 10 << 20

// document is one pod as its manifest has it: nothing defaulted, nothing checked beyond names and types of fields.
type document struct {
	Pod *v1.Pod
	// Number is the document's in the manifest, from 1.
	Number int
	// Item is the place in a list, such as items[3]; empty outside of lists.
	Item string

	from chunk
}

// documents reads the pods of a manifest: YAML or JSON, any number of documents, each a Pod, a PodList or a List of
// pods. Documents without content are passed over; an empty manifest has no pods. It is strict: unknown and repeated
// fields and wrong types are errors, all of them listed in the *Error it returns. With an error there are no pods. It also
// counts the documents, for messages.
func documents(data []byte, origin string) ([]document, int, error) {
	if len(data) > MaxBytes {
		message := fmt.Sprintf("is longer than the %d MiB that a manifest may have", MaxBytes>>20)
		return nil, 0, &Error{Origin: origin, Faults: []Fault{{Message: message}}}
	}
	var out []document
	e := &Error{Origin: origin}
	for _, c := range split(data) {
		raw, fault := toJSON(c.text)
		if raw == nil && fault == nil {
			continue
		}
		e.Documents++
		r := reader{from: c, number: e.Documents}
		if fault != nil {
			r.syntax(*fault)
		} else {
			r.object(raw, nil)
		}
		out = append(out, r.docs...)
		e.Faults = append(e.Faults, r.faults...)
	}
	if len(e.Faults) > 0 {
		e.sort()
		return nil, e.Documents, e
	}
	return out, e.Documents, nil
}
