package config

import (
	"fmt"
	"strings"
)

// Flags is the help text of every flag, in groups: what is used most first, what is deprecated last. Defaults are those that
// hold without a config file.
func Flags() string {
	c := blank()
	legacy(&c.Kubelet)
	fill(&c.Kubelet)
	var b strings.Builder
	for g := common; g <= mirrored; g++ {
		if g > common {
			b.WriteString("\n")
		}
		b.WriteString(g.title() + ":\n")
		for _, f := range flagTable() {
			if f.group == g {
				b.WriteString(f.help(c))
			}
		}
	}
	return b.String()
}

// help is one flag's entry: a line with its name and argument, and its meaning below where both do not fit.
func (f flag) help(c *Config) string {
	v := f.bind(c)
	name := "      --" + f.name
	if f.short != "" {
		name = "  -" + f.short + ", --" + f.name
	}
	if !v.isSwitch() {
		name += " " + v.kind
	}
	text := f.usage
	if f.group == mirrored {
		text += " [" + f.field + "]"
	}
	if def := v.show(); def != "" && def != "false" && def != "0" && def != "0s" {
		text += " (default " + def + ")"
	}
	const column = 44
	if len([]rune(name)) >= column-1 {
		return name + "\n" + strings.Repeat(" ", column) + text + "\n"
	}
	return fmt.Sprintf("%s%s%s\n", name, strings.Repeat(" ", column-len([]rune(name))), text)
}
