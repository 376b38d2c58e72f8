package manifest

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
)

// MaxBytes is how long a manifest may be.
const MaxBytes = 10 << 20

// document is one object as its manifest has it: nothing defaulted, nothing checked beyond names and types of fields.
type document struct {
	// Pod is nil if it is another object.
	Pod       *v1.Pod
	ConfigMap *v1.ConfigMap
	Secret    *v1.Secret
	// Number is the document's in the manifest, from 1.
	Number int
	// Item is the place in a list, such as items[3]; empty outside of lists.
	Item string

	from chunk
}

// documents reads the pods of a manifest: YAML or JSON, any number of documents, each a Pod, a PodList or a List of
// pods; with objects, also ConfigMaps and Secrets. Documents without content are passed over; an empty manifest has no pods. It is
// strict: unknown and repeated fields and wrong types are errors, all of them listed in the *Error it returns. With an error
// there are no pods. It also counts the documents, for messages; left are those that hold what a node cannot run, with objects.
func documents(data []byte, origin string, objects bool) (out []document, left *Error, err error) {
	if len(data) > MaxBytes {
		message := fmt.Sprintf("is longer than the %d MiB that a manifest may have", MaxBytes>>20)
		return nil, nil, &Error{Origin: origin, Faults: []Fault{{Message: message}}}
	}
	e := &Error{Origin: origin}
	left = &Error{Origin: origin}
	for _, c := range split(data) {
		raw, fault := toJSON(c.text)
		if raw == nil && fault == nil {
			continue
		}
		e.Documents++
		r := reader{from: c, number: e.Documents, objects: objects}
		if fault != nil {
			r.syntax(*fault)
		} else {
			r.object(raw, nil)
		}
		out = append(out, r.docs...)
		e.Faults = append(e.Faults, r.faults...)
		left.Faults = append(left.Faults, r.left...)
	}
	left.Documents = e.Documents
	if len(e.Faults) > 0 {
		e.sort()
		return nil, left, e
	}
	return out, left, nil
}
