package config

import "strings"

// group orders the help text: what most people need first, what is on its way out last.
type group int

const (
	common group = iota
	bosun
	process
	logging
	old
	mirrored
)

func (g group) title() string {
	switch g {
	case common:
		return "Common"
	case bosun:
		return "Bosun's own (the upstream kubelet does not know these)"
	case process:
		return "Process and node"
	case logging:
		return "Logging"
	case old:
		return "Deprecated, without a field in the config file"
	case mirrored:
		return "Deprecated in favour of the config file field in brackets; they work, and win over the file"
	}
	return ""
}

// flag is one command-line flag.
type flag struct {
	name, short string
	group       group
	// field is the config file field it mirrors, "" for a flag-only setting.
	field string
	// usage may hold no secret and no line break.
	usage string
	bind  func(*Config) value
}

// top is the field's first part, the name config files use at top level.
func (f flag) top() string {
	top, _, _ := strings.Cut(f.field, ".")
	return top
}

// deprecated reports whether its use earns a note.
func (f flag) deprecated() bool { return f.group == old || f.group == mirrored }

// label names the flag in messages.
func (f flag) label() string {
	if f.field == "" {
		return "--" + f.name
	}
	return "--" + f.name + " (" + f.field + ")"
}

// flagTable is every flag that does something, in help order within each group.
func flagTable() []flag {
	var all []flag
	for _, part := range [][]flag{plainFlags(), sourceFlags(), serverFlags(), nodeFlags(), resourceFlags()} {
		all = append(all, part...)
	}
	return all
}

// plain makes a flag-only setting.
func plain(name string, g group, usage string, bind func(*Config) value) flag {
	return flag{name: name, group: g, usage: usage, bind: bind}
}

// mirror makes a flag for a config file field.
func mirror(name, field, usage string, bind func(*KubeletConfiguration) value) flag {
	return flag{name: name, group: mirrored, field: field, usage: usage, bind: func(c *Config) value { return bind(&c.Kubelet) }}
}

// in moves a mirror to another group: it is not called deprecated. Upstream deprecates the flags for manifests and for the
// runtime's socket too, but a node without a cluster needs no config file for these.
func (f flag) in(g group) flag { f.group = g; return f }
