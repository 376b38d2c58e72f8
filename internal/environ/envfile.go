package environ

import (
	"fmt"
	"strings"
)

// ParseEnvFile reads an env file (behaviour 73). The syntax is the one Kubernetes documents: lines of VAR='value' with
// the value always in single quotes, taken literally and possibly over several lines; spaces around "=" and at the start
// of a line, blank lines, and lines that begin with "#" do not count; of a name given twice the later holds. Errors name
// the line and never show a value.
func ParseEnvFile(data []byte) (map[string]string, error) {
	text, line := string(data), 1
	out := map[string]string{}
	for text != "" {
		current, rest, _ := strings.Cut(text, "\n")
		trimmed := strings.TrimSpace(current)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			text, line = rest, line+1
			continue
		}
		name, value, after, err := declaration(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		out[name] = value
		line += 1 + strings.Count(value, "\n")
		text = after
	}
	return out, nil
}

// declaration reads one VAR='value' and the line end after it.
func declaration(text string) (name, value, rest string, err error) {
	name, after, found := strings.Cut(text, "=")
	if !found || strings.Contains(name, "\n") {
		return "", "", "", fmt.Errorf("must be VAR='value'")
	}
	name = strings.Trim(name, " \t")
	if name == "" {
		return "", "", "", fmt.Errorf("has no variable name before '='")
	}
	for _, r := range name {
		if r <= ' ' || r > '~' {
			return "", "", "", fmt.Errorf("the variable name may have printable ASCII characters only, and no spaces")
		}
	}
	after = strings.TrimLeft(after, " \t")
	if !strings.HasPrefix(after, "'") {
		return "", "", "", fmt.Errorf("the value of %s must be in single quotes", name)
	}
	value, after, found = strings.Cut(after[1:], "'")
	if !found {
		return "", "", "", fmt.Errorf("the value of %s has no closing single quote", name)
	}
	if strings.Contains(value, "\x00") {
		return "", "", "", fmt.Errorf("the value of %s has a NUL character", name)
	}
	tail, rest, _ := strings.Cut(after, "\n")
	if strings.TrimSpace(tail) != "" {
		return "", "", "", fmt.Errorf("nothing may follow the closing quote of %s", name)
	}
	return name, value, rest, nil
}
