package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// walk compares a decoded tree with the type it should have and keeps a fault for every difference.
func (r *reader) walk(v any, t reflect.Type, at steps) {
	if v == nil {
		return // null stands for "not given" everywhere
	}
	if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(unmarshaler) {
		r.leaf(v, t, at)
		return
	}
	switch t.Kind() {
	case reflect.Pointer:
		r.walk(v, t.Elem(), at)
	case reflect.Struct:
		r.structure(v, t, at)
	case reflect.Map:
		m, ok := v.(map[string]any)
		if !ok {
			r.mismatch(v, "a mapping of names to values", at)
			return
		}
		for _, key := range slices.Sorted(maps.Keys(m)) {
			r.walk(m[key], t.Elem(), at.to(key))
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			if _, ok := v.(string); !ok {
				r.mismatch(v, "base64 text", at)
			}
			return
		}
		list, ok := v.([]any)
		if !ok {
			r.mismatch(v, "a list", at)
			return
		}
		for i, item := range list {
			r.walk(item, t.Elem(), at.to(i))
		}
	default:
		r.scalar(v, t, at)
	}
}

func (r *reader) structure(v any, t reflect.Type, at steps) {
	m, ok := v.(map[string]any)
	if !ok {
		r.mismatch(v, "an object", at)
		return
	}
	fields := fieldsOf(t)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if ft, ok := fields[key]; ok {
			r.walk(m[key], ft, at.to(key))
			continue
		}
		r.wrong(at.to(key), "unknown field%s", suggestion(key, fields))
	}
}

func (r *reader) scalar(v any, t reflect.Type, at steps) {
	switch t.Kind() {
	case reflect.String:
		if _, ok := v.(string); !ok {
			r.mismatch(v, "text", at)
		}
	case reflect.Bool:
		if _, ok := v.(bool); !ok {
			r.mismatch(v, "true or false", at)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		low, high := int64(math.MinInt64), int64(math.MaxInt64)
		if bits := t.Bits(); bits < 64 {
			low, high = -1<<(bits-1), 1<<(bits-1)-1
		}
		n, ok := v.(int64)
		if !ok {
			r.mismatch(v, "a whole number", at)
		} else if n < low || n > high {
			r.mismatch(v, fmt.Sprintf("a number from %d to %d", low, high), at)
		}
	}
}

// leaf checks a value of a type that reads itself.
func (r *reader) leaf(v any, t reflect.Type, at steps) {
	raw, err := json.Marshal(v)
	if err == nil && t == reflect.TypeFor[resource.Quantity]() && dangerous.Match(raw) {
		r.mismatch(v, "a quantity that a computer could have", at)
		return
	}
	if err == nil {
		err = json.Unmarshal(raw, reflect.New(t).Interface())
	}
	if err == nil {
		return
	}
	want := "another value (" + err.Error() + ")"
	switch t {
	case reflect.TypeFor[resource.Quantity]():
		want = `a quantity such as 2, 500m, 1.5 or 128Mi (suffixes: m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei)`
	case reflect.TypeFor[intstr.IntOrString]():
		want = "a number or a name"
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime]():
		want = "a time such as 2006-01-02T15:04:05Z"
	case reflect.TypeFor[metav1.FieldsV1](), reflect.TypeFor[runtime.RawExtension]():
		want = "an object"
	}
	r.mismatch(v, want, at)
}

// mismatch reports a value of the wrong type, and what YAML may have made of something that was meant well.
func (r *reader) mismatch(v any, want string, at steps) {
	got, hint := describe(v), ""
	if isSecret(at) {
		got = describeKind(v)
	}
	switch v := v.(type) {
	case string:
		if _, err := strconv.ParseFloat(v, 64); err == nil && strings.Contains(want, "number") {
			hint = "; leave out the quotes"
		}
		if (v == "true" || v == "false") && want == "true or false" {
			hint = "; leave out the quotes"
		}
	case bool:
		if want == "text" {
			hint = "; YAML takes yes, no, on, off, true and false for that unless they are in quotes"
		}
	case int64, float64:
		if want == "text" {
			hint = "; put quotes around it"
		}
	}
	r.wrong(at, "is %s: want %s%s", got, want, hint)
}

// isSecret tells whether the value of a field may be a secret and so must not be shown: values of the environment,
// headers and volume attributes often are.
func isSecret(at steps) bool {
	for _, step := range at {
		switch step {
		case "env", "httpHeaders", "volumeAttributes", "options", "args", "command":
			return true
		}
	}
	return false
}

func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "the text " + quote(v)
	case bool:
		return "the boolean " + strconv.FormatBool(v)
	case int64:
		return "the number " + strconv.FormatInt(v, 10)
	case float64:
		return "the number " + strconv.FormatFloat(v, 'g', -1, 64)
	}
	return describeKind(v)
}

func describeKind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "text"
	case bool:
		return "a boolean"
	case int64, float64:
		return "a number"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return fmt.Sprintf("a %T", v)
}

func describeRaw(raw []byte) string {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return "not an object"
	}
	return describe(v)
}

// fieldsOf returns the fields of a struct by their names in a manifest.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case name == "" && f.Anonymous:
			maps.Copy(out, fieldsOf(f.Type))
		case name == "":
			out[f.Name] = f.Type
		default:
			out[name] = f.Type
		}
	}
	return out
}

// suggestion finds what an unknown field was probably meant to be: a field here that is written alike, or a field of
// that name elsewhere in a pod, which is what a wrong indentation looks like.
func suggestion(name string, fields map[string]reflect.Type) string {
	all := slices.Sorted(maps.Keys(fields))
	if near := nearest(name, all); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	var longer []string
	for _, f := range all {
		if len(name) > 2 && strings.Contains(strings.ToLower(f), strings.ToLower(name)) {
			longer = append(longer, f)
		}
	}
	if len(longer) > 0 && len(longer) <= 3 {
		return fmt.Sprintf("; did you mean %s?", strings.Join(longer, " or "))
	}
	if place := placeOf(name); place != "" {
		return fmt.Sprintf("; a field of that name is at %s: check the indentation", place)
	}
	return "; want one of " + strings.Join(all, ", ")
}

// placeOf finds the field of that name that is nearest to the root of a pod.
func placeOf(name string) string {
	type place struct {
		t    reflect.Type
		path string
	}
	next := []place{{reflect.TypeFor[v1.PodSpec](), "spec"}, {reflect.TypeFor[metav1.ObjectMeta](), "metadata"}}
	if _, ok := fieldsOf(reflect.TypeFor[v1.Pod]())[name]; ok {
		return "the top of the pod"
	}
	for depth := 0; depth < 3; depth++ {
		var deeper []place
		for _, p := range next {
			fields := fieldsOf(p.t)
			if _, ok := fields[name]; ok {
				return p.path + "." + name
			}
			for _, key := range slices.Sorted(maps.Keys(fields)) {
				t, path := fields[key], p.path+"."+key
				for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
					if t.Kind() == reflect.Slice {
						path += "[]"
					}
					t = t.Elem()
				}
				if t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(unmarshaler) {
					deeper = append(deeper, place{t, path})
				}
			}
		}
		next = deeper
	}
	return ""
}

// nearest returns the candidate that is written most like a name, or "" when none is close.
func nearest(name string, candidates []string) string {
	best, least := "", 1+max(1, len(name)/3)
	for _, c := range candidates {
		if strings.EqualFold(c, name) {
			return c
		}
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, change or swap to make one word of the other.
func distance(a, b string) int {
	if max(len(a), len(b)) > 100 {
		return math.MaxInt
	}
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
