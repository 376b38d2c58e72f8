package boxruntime

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// A rule is one line of iptables-save: "-A CHAIN …".
type rule struct {
	chain string
	text  string // without "-A "
}

// target is the chain or verdict the rule jumps to.
func (r rule) target() string {
	words := strings.Fields(r.text)
	for i, w := range words {
		if w == "-j" && i+1 < len(words) {
			return words[i+1]
		}
	}
	return ""
}

// parseRules reads iptables-save, table by table.
func parseRules(saved string) map[string][]rule {
	tables := map[string][]rule{}
	table := ""
	for line := range strings.Lines(saved) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "*"); ok {
			table = name
		} else if text, ok := strings.CutPrefix(line, "-A "); ok && table != "" {
			chain, _, _ := strings.Cut(text, " ")
			tables[table] = append(tables[table], rule{chain, text})
		}
	}
	return tables
}

// leftoverRules gives a script for `iptables-restore --noflush` that removes what the plugins made for pods of a network.
// The plugins sign their jumps with a comment `name: "NETWORK" id: "CONTAINER"` and give each pod a chain CNI-HASH (for
// masquerading) or CNI-DN-HASH (for host ports); the firewall plugin makes rules for addresses in a shared chain. An
// empty answer means there is nothing to remove.
func leftoverRules(saved, network string, subnet netip.Prefix) string {
	script := newScript()
	for table, rules := range parseRules(saved) {
		for _, r := range rules {
			switch {
			case strings.Contains(r.text, `name: \"`+network+`\"`):
				script.remove(table, r)
				if chain := r.target(); strings.HasPrefix(chain, "CNI-") && !shared[chain] {
					script.drop(table, chain)
				}
			case r.chain == "CNI-FORWARD" && within(r, subnet):
				script.remove(table, r)
			}
		}
	}
	return script.String()
}

// shared chains belong to all networks of a machine.
var shared = map[string]bool{
	"CNI-HOSTPORT-DNAT": true, "CNI-HOSTPORT-SETMARK": true, "CNI-HOSTPORT-MASQ": true, "CNI-FORWARD": true, "CNI-ADMIN": true,
}

// emptyChains gives a script that removes the host port chains, and the jumps to them, when no pod of any network uses them.
func emptyChains(saved string) string {
	script := newScript()
	for table, rules := range parseRules(saved) {
		inUse := false
		for _, r := range rules {
			inUse = inUse || r.chain == "CNI-HOSTPORT-DNAT"
		}
		if inUse {
			continue
		}
		for _, r := range rules {
			if chain := r.target(); hostPort(chain) && !hostPort(r.chain) {
				script.remove(table, r)
			}
		}
		for line := range strings.Lines(tableOf(saved, table)) {
			name, _, _ := strings.Cut(strings.TrimPrefix(line, ":"), " ")
			if strings.HasPrefix(line, ":") && hostPort(name) {
				script.drop(table, name)
			}
		}
	}
	return script.String()
}

func hostPort(chain string) bool { return strings.HasPrefix(chain, "CNI-HOSTPORT-") }

// tableOf cuts one table out of iptables-save.
func tableOf(saved, table string) string {
	_, rest, _ := strings.Cut(saved, "*"+table+"\n")
	body, _, _ := strings.Cut(rest, "COMMIT")
	return body
}

// within says whether a rule is about an address of the subnet.
func within(r rule, subnet netip.Prefix) bool {
	words := strings.Fields(r.text)
	for i, w := range words {
		if (w == "-s" || w == "-d") && i+1 < len(words) {
			if p, err := netip.ParsePrefix(words[i+1]); err == nil && p.Bits() >= subnet.Bits() && subnet.Contains(p.Addr()) {
				return true
			}
		}
	}
	return false
}

// script collects changes, table by table, in an order in which they can be applied: jumps go before the chains.
type script struct {
	removed map[string][]string
	dropped map[string]map[string]bool
}

func newScript() *script {
	return &script{map[string][]string{}, map[string]map[string]bool{}}
}

func (s *script) remove(table string, r rule) {
	s.removed[table] = append(s.removed[table], r.text)
}

func (s *script) drop(table, chain string) {
	if s.dropped[table] == nil {
		s.dropped[table] = map[string]bool{}
	}
	s.dropped[table][chain] = true
}

func (s *script) String() string {
	tables := map[string]bool{}
	for t := range s.removed {
		tables[t] = true
	}
	for t := range s.dropped {
		tables[t] = true
	}
	var b strings.Builder
	for _, table := range slices.Sorted(maps.Keys(tables)) {
		fmt.Fprintf(&b, "*%s\n", table)
		for _, text := range s.removed[table] {
			fmt.Fprintf(&b, "-D %s\n", text)
		}
		chains := slices.Sorted(maps.Keys(s.dropped[table]))
		for _, chain := range chains { // all empty before the first goes: they may jump to each other
			fmt.Fprintf(&b, "-F %s\n", chain)
		}
		for _, chain := range chains {
			fmt.Fprintf(&b, "-X %s\n", chain)
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}
