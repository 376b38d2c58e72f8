package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// since says from which issue on Bosun does what a setting asks for.
type since int

const (
	// notYet: accepted and checked, and listed for the user as without effect so far.
	notYet since = 0
	// noEffect: nothing is missing, because nothing is asked: upstream ignores it too, or Bosun has no such thing.
	noEffect since = -1
)

func issue(n int) since { return since(n) }

// support is one line of the table of settings.
type support struct {
	// setting is a config field by its path in the file, or a flag with its dashes.
	setting string
	since   since
}

// Field is a setting the user changed that Bosun does not honour yet.
type Field struct {
	// Setting is a config field ("evictionSoft"), or a flag that has none ("--kubeconfig").
	Setting string
	// Value is what was set, as JSON.
	Value string
}

func (f Field) String() string { return f.Setting + ": " + f.Value }

// Unsupported lists what is set to another value than its default and has no effect yet, config fields first.
func Unsupported(c *Config) []Field {
	def := blank()
	if c.ConfigFile == "" {
		legacy(&def.Kubelet)
	}
	fill(&def.Kubelet)
	def.Kubelet.FeatureGates = c.Kubelet.FeatureGates
	if c.ConfigFile != "" {
		def.Kubelet.EvictionHard = hardEviction()
	}
	settle(def)
	have, usual := asObject(c.Redacted().Kubelet), asObject(def.Kubelet)
	var out []Field
	for _, s := range fieldSupport() {
		got := at(have, s.setting)
		if s.since == notYet && got != nil && !reflect.DeepEqual(got, at(usual, s.setting)) {
			out = append(out, Field{Setting: s.setting, Value: asJSON(got)})
		}
	}
	out = append(out, unsupportedGates(c.Kubelet.FeatureGates)...)
	flags := map[string]flag{}
	for _, f := range plainFlags() {
		flags["--"+f.name] = f
	}
	for _, s := range flagSupport() {
		f := flags[s.setting]
		if s.since != notYet || !c.given[s.setting] {
			continue
		}
		if got := f.bind(c).show(); got != f.bind(def).show() {
			out = append(out, Field{Setting: s.setting, Value: got})
		}
	}
	return out
}

// unsupportedGates lists the gates that are set to another value than usual and make no difference.
func unsupportedGates(set map[string]bool) (out []Field) {
	table := gateTable()
	for _, name := range slices.Sorted(maps.Keys(set)) {
		g, known := table[name]
		for _, all := range allGates {
			if name == all.name {
				g, known = gate{on: all.stage == beta}, true
			}
		}
		if known && set[name] != g.on && !slices.Contains(honouredGates(), name) {
			out = append(out, Field{Setting: "featureGates." + name, Value: asJSON(set[name])})
		}
	}
	return out
}

// AllUnsupported lists every setting that has no effect yet, for `bosun config --unsupported`.
func AllUnsupported() []string {
	var out []string
	for _, s := range append(fieldSupport(), flagSupport()...) {
		if s.since == notYet {
			out = append(out, s.setting)
		}
	}
	return append(out, "featureGates, all but "+strings.Join(honouredGates(), ", "))
}

// asObject gives the configuration as its file would hold it. The type always has a JSON form.
func asObject(k KubeletConfiguration) object {
	var o object
	if data, err := json.Marshal(k); err == nil {
		_ = json.Unmarshal(data, &o)
	}
	return o
}

func asJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

// at finds a value by its path, nil when any part is not there.
func at(o object, path string) any {
	var v any = o
	for part := range strings.SplitSeq(path, ".") {
		in, ok := v.(object)
		if !ok {
			return nil
		}
		v = in[part]
	}
	return v
}
