package config

import (
	"fmt"
	"strings"
)

// found is one flag on the command line with its value, in the order given.
type found struct {
	flag  flag
	value string
}

// line is the command line, taken apart once. Applying it is repeatable: once to learn which files to read, and once more
// over what they say.
type line struct {
	found    []found
	retired  []retired
	operands []string
	problems Problems
}

// scan takes the arguments apart. Unlike a general flag parser it does not stop at the first mistake.
func scan(args []string) line {
	s := scanner{flags: map[string]flag{}, shorts: map[string]flag{}, old: retiredTable(), rest: args}
	for _, f := range flagTable() {
		s.flags[f.name] = f
		if f.short != "" {
			s.shorts[f.short] = f
		}
	}
	for len(s.rest) > 0 {
		arg := s.next()
		switch {
		case arg == "--":
			s.operands = append(s.operands, s.rest...)
			s.rest = nil
		case strings.HasPrefix(arg, "--"):
			s.long(arg)
		case len(arg) > 1 && arg[0] == '-':
			s.shorthand(arg)
		default:
			s.operand(arg)
		}
	}
	return s.line
}

type scanner struct {
	line
	flags, shorts map[string]flag
	old           map[string]retired
	warned        map[string]bool
	rest          []string
	// lastSwitch is the switch right before the argument at hand, if any: `--x false` is a common slip.
	lastSwitch string
}

func (s *scanner) next() string {
	arg := s.rest[0]
	s.rest = s.rest[1:]
	return arg
}

// normal is the one spelling of a flag's name.
func normal(name string) string { return strings.ReplaceAll(name, "_", "-") }

func (s *scanner) long(arg string) {
	written, val, hasValue := strings.Cut(arg[2:], "=")
	name := normal(written)
	if f, ok := s.flags[name]; ok {
		s.take(f, val, hasValue, "--"+name)
		return
	}
	if r, ok := s.old[name]; ok {
		s.takeRetired(r, hasValue)
		return
	}
	s.lastSwitch = ""
	s.problems.add("--"+name, "", "there is no such flag"+s.suggest(name))
}

func (s *scanner) take(f flag, val string, hasValue bool, written string) {
	s.lastSwitch = ""
	v := f.bind(&Config{})
	if !hasValue {
		switch {
		case v.isSwitch():
			val, s.lastSwitch = "true", f.name
		case len(s.rest) == 0 || strings.HasPrefix(s.rest[0], "--"):
			s.problems.add(written, "", "needs a value: "+v.kind)
			return
		default:
			val = s.next()
		}
	}
	s.found = append(s.found, found{flag: f, value: val})
}

func (s *scanner) takeRetired(r retired, hasValue bool) {
	s.lastSwitch = ""
	if !hasValue && !r.isSwitch && len(s.rest) > 0 && !strings.HasPrefix(s.rest[0], "--") {
		s.next()
	}
	if !hasValue && r.isSwitch {
		s.lastSwitch = r.name
	}
	if s.warned == nil {
		s.warned = map[string]bool{}
	}
	if !s.warned[r.name] {
		s.warned[r.name] = true
		s.line.retired = append(s.line.retired, r)
	}
}

// shorthand reads -v 2, -v2, -v=2 and -h. What has one dash but a long name gets told so.
func (s *scanner) shorthand(arg string) {
	f, ok := s.shorts[arg[1:2]]
	rest := arg[2:]
	switch {
	case ok && rest == "":
		s.take(f, "", false, "-"+f.short)
	case ok && !f.bind(&Config{}).isSwitch():
		s.take(f, strings.TrimPrefix(rest, "="), true, "-"+f.short)
	default:
		s.lastSwitch = ""
		name, _, _ := strings.Cut(normal(strings.TrimLeft(arg, "-")), "=")
		hint := s.suggest(name)
		if _, known := s.flags[name]; known {
			hint = "; write --" + name + ", with two dashes"
		}
		s.problems.add(quote(arg), "", "there is no such flag"+hint)
	}
}

func (s *scanner) operand(arg string) {
	if s.lastSwitch != "" && (arg == "true" || arg == "false") {
		s.problems.add("--"+s.lastSwitch, quote(arg), fmt.Sprintf("a switch takes its value with an equals sign: --%s=%s", s.lastSwitch, arg))
	} else {
		s.operands = append(s.operands, arg)
	}
	s.lastSwitch = ""
}

func (s *scanner) suggest(name string) string {
	if len(name) > maxSuggest {
		return ""
	}
	names := make([]string, 0, len(s.flags))
	for n := range s.flags {
		names = append(names, n)
	}
	if best := nearest(name, names); best != "" {
		return "; did you mean --" + best + "?"
	}
	return "; bosun run --help lists them all"
}

// apply sets every flag found on c and says what was wrong with the values.
func (l line) apply(c *Config) Problems {
	var ps Problems
	bound := map[string]value{}
	for _, f := range l.found {
		v, ok := bound[f.flag.name]
		if !ok {
			v = f.flag.bind(c)
			bound[f.flag.name] = v
		}
		if err := v.set(f.value); err != nil {
			shown := quote(f.value)
			if f.flag.field == "staticPodURLHeader" {
				shown = masked
			}
			ps.add(f.flag.label(), shown, err.Error())
		}
	}
	return ps
}
