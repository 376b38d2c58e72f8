package environ

import (
	"fmt"
	"path"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// expand replaces every $(NAME) that lookup knows by its value. A reference that lookup does not know stays as it is;
// "$$" stands for one "$", so "$$(NAME)" is a "$(NAME)" that is not looked at; a "$" before anything else, and a
// reference without an end, stand for themselves. Values that were put in are not looked at again.
func expand(text string, lookup func(name string) (string, bool)) string {
	if !strings.Contains(text, "$") {
		return text
	}
	var out strings.Builder
	for {
		plain, rest, found := strings.Cut(text, "$")
		out.WriteString(plain)
		if !found {
			return out.String()
		}
		switch {
		case strings.HasPrefix(rest, "$"):
			out.WriteByte('$')
			text = rest[1:]
		case strings.HasPrefix(rest, "("):
			name, after, closed := strings.Cut(rest[1:], ")")
			if !closed {
				out.WriteString("$(")
				text = rest[1:]
				continue
			}
			if value, known := lookup(name); known {
				out.WriteString(value)
			} else {
				out.WriteString("$(" + name + ")")
			}
			text = after
		default:
			out.WriteByte('$')
			text = rest
		}
	}
}

func lookupIn(vars []Var) func(string) (string, bool) {
	values := make(map[string]string, len(vars))
	for _, v := range vars {
		values[v.Name] = v.Value
	}
	return func(name string) (string, bool) { v, ok := values[name]; return v, ok }
}

// Expand is a command or its arguments with $(VAR) replaced by the container's variables (behaviour 67). A nil list
// stays nil, so that the image's own command holds.
func Expand(list []string, vars []Var) []string {
	if list == nil {
		return nil
	}
	lookup := lookupIn(vars)
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = expand(s, lookup)
	}
	return out
}

// SubPath is the path below the volume that a mount shows: its subPath, or its subPathExpr with all references
// replaced. It is empty when the whole volume is shown. A reference to an unknown variable, an absolute path, and a path
// with ".." in it are errors (behaviour 179).
func SubPath(m *v1.VolumeMount, vars []Var) (string, error) {
	sub := m.SubPath
	if m.SubPathExpr != "" {
		var unknown string
		lookup := lookupIn(vars)
		sub = expand(m.SubPathExpr, func(name string) (string, bool) {
			v, ok := lookup(name)
			if !ok && unknown == "" {
				unknown = name
			}
			return v, ok
		})
		if unknown != "" {
			return "", fmt.Errorf("subPathExpr %q of volume mount %s: missing value for %q", m.SubPathExpr, m.MountPath, unknown)
		}
	}
	if sub == "" {
		return "", nil
	}
	if path.IsAbs(sub) {
		return "", fmt.Errorf("error SubPath `%s` must not be an absolute path", sub)
	}
	for part := range strings.SplitSeq(sub, "/") {
		if part == ".." {
			return "", fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", sub)
		}
	}
	return sub, nil
}
