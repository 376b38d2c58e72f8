package manifest

import (
	"bytes"
	"encoding/json"
)

// chunk is one document of a manifest: its text and the line it begins on, counted from 1.
type chunk struct {
	text []byte
	line int
}

// split cuts a manifest into its documents: at YAML's markers, or, for JSON, where one value ends and the next begins.
func split(data []byte) []chunk {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if values, ok := splitJSON(data); ok {
		return values
	}
	var out []chunk
	begin, beginLine, line := 0, 1, 0
	cut := func(end, nextBegin, nextLine int) {
		out = append(out, chunk{text: data[begin:end], line: beginLine})
		begin, beginLine = nextBegin, nextLine
	}
	for at := 0; at < len(data); {
		line++
		next := len(data)
		if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		switch text := data[at:next]; {
		case isMarker(text, "---"):
			if at > begin && !onlyDirectives(data[begin:at]) {
				cut(at, at, line)
			}
		case isMarker(text, "..."):
			cut(next, next, line+1)
		}
		at = next
	}
	cut(len(data), len(data), line)
	return out
}

// isMarker tells whether a line is a document marker: the three characters alone, or followed by white space.
func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || rest[0] == '\n' || rest[0] == '\r' || rest[0] == ' ' || rest[0] == '\t')
}

// onlyDirectives tells whether a text is the head of the document that the next marker begins: at least one
// %DIRECTIVE, and else only comments.
func onlyDirectives(text []byte) bool {
	found := false
	for _, line := range bytes.Split(text, []byte("\n")) {
		switch line = bytes.TrimRight(line, " \t\r"); {
		case len(line) == 0 || line[0] == '#':
		case line[0] == '%':
			found = true
		default:
			return false
		}
	}
	return found
}

// splitJSON cuts a sequence of JSON objects. It is false for anything else; that is for YAML to understand, or to
// complain about.
func splitJSON(data []byte) ([]chunk, bool) {
	if head := bytes.TrimLeft(data, " \t\r\n"); len(head) == 0 || head[0] != '{' {
		return nil, false
	}
	var out []chunk
	d := json.NewDecoder(bytes.NewReader(data))
	line, counted := 1, int64(0)
	for d.More() {
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return nil, false
		}
		begin := d.InputOffset() - int64(len(raw))
		line += bytes.Count(data[counted:begin], []byte("\n"))
		counted = begin
		out = append(out, chunk{text: raw, line: line})
	}
	rest := bytes.TrimSpace(data[d.InputOffset():])
	return out, len(rest) == 0
}
