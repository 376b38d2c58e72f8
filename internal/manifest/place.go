package manifest

import (
	"strconv"
	"strings"

	yaml3 "go.yaml.in/yaml/v3"
)

// steps is the way to a field: names as string, places in a list as int.
type steps []any

// to returns the way one step further; the receiver stays as it is.
func (s steps) to(step any) steps { return append(s[:len(s):len(s)], step) }

// String returns the way as the API writes it: spec.containers[0].image, metadata.labels[app.kubernetes.io/name].
func (s steps) String() string {
	var b strings.Builder
	for _, step := range s {
		switch step := step.(type) {
		case int:
			b.WriteString("[" + strconv.Itoa(step) + "]")
		case string:
			if strings.ContainsAny(step, "./ []") {
				b.WriteString("[" + step + "]")
				continue
			}
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(step)
		}
	}
	return b.String()
}

// parseSteps reads what String or field.Path wrote. What is in brackets may be a place or a name: both are kept as
// string, and whoever follows the way knows what it stands on.
func parseSteps(path string) []string {
	var out []string
	for path != "" {
		if rest, ok := strings.CutPrefix(path, "["); ok {
			inside, after, _ := strings.Cut(rest, "]")
			out = append(out, inside)
			path = strings.TrimPrefix(after, ".")
			continue
		}
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			return append(out, path)
		}
		out = append(out, path[:end])
		path = strings.TrimPrefix(path[end:], ".")
	}
	return out
}

// lineIn finds the line of a field in a document, or of the nearest field around it that is there; 0 if the text
// cannot be followed. It reads the text once more, which only bad manifests pay for.
func lineIn(text []byte, path string) int {
	var doc yaml3.Node
	if yaml3.Unmarshal(text, &doc) != nil || len(doc.Content) == 0 {
		return 0
	}
	node, line := doc.Content[0], doc.Content[0].Line
	for _, step := range parseSteps(path) {
		next, at := child(node, step)
		if next == nil {
			return line
		}
		node, line = next, at
	}
	return line
}

func child(node *yaml3.Node, step string) (*yaml3.Node, int) {
	for node.Kind == yaml3.AliasNode {
		node = node.Alias
	}
	switch node.Kind {
	case yaml3.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i].Line
		}
	case yaml3.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1], node.Content[i].Line
			}
		}
	case yaml3.DocumentNode, yaml3.ScalarNode, yaml3.AliasNode:
	}
	return nil, 0
}

// repeatedKey finds the first key that a mapping has twice.
func repeatedKey(text []byte) (line int, key, path string, found bool) {
	var doc yaml3.Node
	if yaml3.Unmarshal(text, &doc) != nil || len(doc.Content) == 0 {
		return 0, "", "", false
	}
	return repeatedBelow(doc.Content[0], nil)
}

func repeatedBelow(node *yaml3.Node, at steps) (int, string, string, bool) {
	if node.Kind == yaml3.SequenceNode {
		for i, n := range node.Content {
			if line, key, path, found := repeatedBelow(n, at.to(i)); found {
				return line, key, path, found
			}
		}
	}
	if node.Kind != yaml3.MappingNode {
		return 0, "", "", false
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		here := at.to(key.Value)
		if seen[key.Value] {
			return key.Line, key.Value, here.String(), true
		}
		seen[key.Value] = true
		if line, key, path, found := repeatedBelow(node.Content[i+1], here); found {
			return line, key, path, found
		}
	}
	return 0, "", "", false
}
