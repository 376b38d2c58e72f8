package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// object is a config file's content, field by field, not yet typed.
type object = map[string]any

// document is what one file said.
type document struct {
	fields   object
	warnings []string
	problems Problems
}

// parse reads one config or drop-in file. name is used in messages only. Unknown and repeated fields are warnings, as
// upstream tolerates them; anything else wrong is a problem, one for each field.
func parse(name string, data []byte) document {
	var d document
	if len(bytes.TrimSpace(data)) == 0 {
		d.problems.add(name, "", "the file is empty; want a KubeletConfiguration")
		return d
	}
	asJSON, repeated, err := toJSON(data)
	if err != nil {
		d.problems.add(name, "", "the file is neither YAML nor JSON: "+oneLine(err.Error()))
		return d
	}
	raw := map[string]json.RawMessage{}
	if err := json.Unmarshal(asJSON, &raw); err != nil || len(raw) == 0 {
		d.problems.add(name, "", "want a KubeletConfiguration: fields with values, as in maxPods: 110")
		return d
	}
	d.warn(name, repeated)
	if manyDocuments(data) {
		d.warnings = append(d.warnings, name+": only the first of several documents is read.")
	}
	d.checkKind(name, raw)
	d.check(name, "", reflect.TypeFor[KubeletConfiguration](), asJSON)
	d.fields = object{}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(asJSON, &d.fields); err != nil {
		d.problems.add(name, "", oneLine(err.Error()))
	}
	return d
}

// toJSON also gives the error of the strict reading when only the lenient one succeeds.
func toJSON(data []byte) (asJSON []byte, strict, err error) {
	if trimmed := bytes.TrimSpace(data); trimmed[0] == '{' && json.Valid(trimmed) {
		return trimmed, nil, nil
	}
	asJSON, strict = yaml.YAMLToJSONStrict(data)
	if strict == nil {
		return asJSON, nil, nil
	}
	asJSON, err = yaml.YAMLToJSON(data)
	return asJSON, strict, err
}

func (d *document) warn(where string, strict error) {
	if strict != nil {
		d.warnings = append(d.warnings, fmt.Sprintf("%s: %s; the last one counts", strings.TrimSuffix(where, ": "), strings.TrimPrefix(oneLine(strict.Error()), "yaml: unmarshal errors: ")))
	}
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func manyDocuments(data []byte) bool {
	started := false
	for l := range bytes.Lines(data) {
		l = bytes.TrimRight(l, " \t\r\n")
		switch {
		case bytes.Equal(l, []byte("---")) && started:
			return true
		case len(l) > 0 && l[0] != '#' && !bytes.Equal(l, []byte("---")):
			started = true
		}
	}
	return false
}

func (d *document) checkKind(name string, raw map[string]json.RawMessage) {
	for field, want := range map[string]string{"apiVersion": apiVersion, "kind": kind} {
		var got string
		if v, ok := raw[field]; !ok {
			d.problems.add(name+": "+field, "", "is missing; want "+want)
		} else if json.Unmarshal(v, &got) == nil && got != want {
			d.problems.add(name+": "+field, quote(got), "want "+want)
		}
	}
	slices.SortFunc(d.problems, func(a, b Problem) int { return strings.Compare(a.Where, b.Where) })
}

// check goes down to every single field, so that one bad field does not hide the next.
func (d *document) check(name, path string, t reflect.Type, raw json.RawMessage) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if string(raw) == "null" {
		return
	}
	if t.Kind() != reflect.Struct || isLeaf(t) {
		d.checkLeaf(name, path, t, raw)
		return
	}
	var sub map[string]json.RawMessage
	twice, err := kjson.UnmarshalStrict(raw, &sub)
	if err != nil {
		d.problems.add(name+": "+path, show(path, raw), "want "+describe(t))
		return
	}
	for _, err := range twice {
		d.warn(name+": "+path, err)
	}
	for _, field := range slices.Sorted(maps.Keys(sub)) {
		full := strings.TrimPrefix(path+"."+field, ".")
		if f, ok := fieldNamed(t, field); ok {
			d.check(name, full, f.Type, sub[field])
			continue
		}
		hint := ""
		if len(field) <= maxSuggest {
			if best := nearest(field, fieldNames(t)); best != "" {
				hint = "; did you mean " + best + "?"
			}
		}
		d.warnings = append(d.warnings, fmt.Sprintf("%s: unknown field %s is ignored%s", name, quote(full), hint))
	}
}

func (d *document) checkLeaf(name, path string, t reflect.Type, raw json.RawMessage) {
	strict, err := kjson.UnmarshalStrict(raw, reflect.New(t).Interface())
	for _, err := range strict {
		d.warn(name+": "+path, err)
	}
	if err == nil {
		return
	}
	want := "want " + describe(t)
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct {
		want += " (" + oneLine(err.Error()) + ")"
	}
	d.problems.add(name+": "+path, show(path, raw), want)
}

// show gives a value as it stands in the file, without those that may be secret.
func show(path string, raw json.RawMessage) string {
	if strings.HasPrefix(path, "staticPodURL") {
		return masked
	}
	const most = 120
	if s := []rune(string(raw)); len(s) > most {
		return string(s[:most]) + "…"
	}
	return string(raw)
}

// fieldNamed finds a struct field by its name in JSON.
func fieldNamed(t reflect.Type, name string) (reflect.StructField, bool) {
	for _, f := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name && name != "" {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// isLeaf reports whether the type reads its JSON itself, so that its Go fields are not config fields.
func isLeaf(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}

func describe(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int32, reflect.Int64, reflect.Uint32:
		return "a whole number of " + fmt.Sprint(t.Bits()) + " bits"
	case reflect.Float64:
		return "a number"
	case reflect.String:
		return `text, in quotes if it could be read as a number or a yes or no`
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Struct {
			return "a list of entries with " + strings.Join(fieldNames(t.Elem()), ", ")
		}
		return "a list, each entry " + describe(t.Elem())
	case reflect.Map:
		return "pairs of name: value, each value " + describe(t.Elem())
	}
	if t == reflect.TypeFor[metav1.Duration]() || strings.HasSuffix(t.Name(), "Duration") {
		return `a duration such as "10s", "5m" or "1h30m"`
	}
	if strings.HasPrefix(t.Name(), "Quantity") {
		return `a quantity such as "64Ki" or "1M"`
	}
	return "the fields " + strings.Join(fieldNames(t), ", ") + ", each with a value"
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag != "" && tag != "-" {
			names = append(names, tag)
		}
	}
	return names
}

// merge lays patch over base by RFC 7386: objects merge, null deletes, all else replaces. Neither argument is changed.
func merge(base, patch object) object {
	out := cloneMap(base)
	for k, v := range patch {
		sub, isObject := v.(object)
		switch {
		case v == nil:
			delete(out, k)
		case isObject:
			under, _ := out[k].(object)
			out[k] = merge(under, sub)
		default:
			out[k] = v
		}
	}
	return out
}

// typed turns merged fields into the config value. Fields of the wrong type were already reported when their file was parsed,
// so they are left out here.
func typed(fields object) KubeletConfiguration {
	var k KubeletConfiguration
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		one, err := json.Marshal(object{field: fields[field]})
		if err != nil {
			continue
		}
		next := *k.DeepCopy()
		if kjson.UnmarshalCaseSensitivePreserveInts(one, &next) == nil {
			k = next
		}
	}
	return k
}

// anchor resolves the relative paths a file holds against the file's own directory.
func anchor(fields object, dir string) {
	resolve := func(in object, name string) {
		if p, ok := in[name].(string); ok && p != "" && !filepath.IsAbs(p) {
			in[name] = filepath.Join(dir, p)
		}
	}
	for _, name := range []string{"staticPodPath", "tlsCertFile", "tlsPrivateKeyFile", "resolvConf", "volumePluginDir", "podLogsDir"} {
		resolve(fields, name)
	}
	if auth, ok := fields["authentication"].(object); ok {
		if x509, ok := auth["x509"].(object); ok {
			resolve(x509, "clientCAFile")
		}
	}
}
