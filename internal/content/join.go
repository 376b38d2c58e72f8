package content

import (
	"slices"
	"strings"
)

// Join makes one error of several, told in one line as upstream does: [first, second]. Those that are nil are left out, and
// each text is told once; nil if there are none.
func Join(errs ...error) error {
	told := slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	switch len(told) {
	case 0:
		return nil
	case 1:
		return told[0]
	}
	return several(told)
}

type several []error

// Error implements error.
func (s several) Error() string {
	var texts []string
	for _, err := range s {
		if text := err.Error(); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	if len(texts) == 1 {
		return texts[0]
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// Unwrap lets errors.Is and errors.As find each of them.
func (s several) Unwrap() []error { return s }
