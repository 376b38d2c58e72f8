package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// toJSON turns one document into JSON. JSON passes through as it is. Nil means that there is nothing in it.
func toJSON(text []byte) ([]byte, *Fault) {
	trimmed := bytes.TrimSpace(text)
	if len(trimmed) == 0 {
		return nil, nil
	}
	raw := trimmed
	if trimmed[0] != '{' || !json.Valid(trimmed) {
		var err error
		if raw, err = yaml.YAMLToJSONStrict(text); err != nil {
			return nil, syntaxFault(text, err)
		}
	}
	if bytes.Equal(raw, []byte("null")) {
		return nil, nil
	}
	return raw, nil
}

var lineOf = regexp.MustCompile(`line (\d+): `)

// syntaxFault tells what the YAML reader did not like, with a hint for what people get wrong most.
func syntaxFault(text []byte, err error) *Fault {
	if at, key, path, ok := repeatedKey(text); ok {
		return &Fault{Line: at, Field: path, Message: fmt.Sprintf("the field %s is given twice: want it once", quote(key))}
	}
	said := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n  ")
	fault := &Fault{Line: 1}
	if m := lineOf.FindStringSubmatchIndex(said); m != nil {
		fault.Line, _ = strconv.Atoi(said[m[2]:m[3]])
		said = said[:m[0]] + said[m[1]:]
	}
	if strings.HasPrefix(said, "invalid map key") {
		said = "a key of a mapping is not text"
	}
	fault.Message = "is not YAML or JSON, at or near this line: " + said
	if hint := hintFor(text, said); hint != "" {
		fault.Message += " (" + hint + ")"
	}
	return fault
}

func hintFor(text []byte, said string) string {
	switch {
	case bytes.Contains(text, []byte("{{")):
		return "this looks like a template that was not rendered"
	case strings.Contains(said, "cannot start any token") && bytes.Contains(text, []byte("\t")):
		return "YAML is indented with spaces, never with tabs"
	case strings.Contains(said, "cannot start any token"):
		return "put quotes around a value that begins with @, ` or %"
	case strings.Contains(said, "mapping values are not allowed"), strings.Contains(said, "did not find expected key"),
		strings.Contains(said, "did not find expected '-' indicator"), strings.Contains(said, "could not find expected ':'"):
		return "check the indentation, and put quotes around a value that holds \": \""
	case strings.Contains(said, "unexpected end of stream"):
		return "a quote that was opened is not closed"
	}
	return ""
}
