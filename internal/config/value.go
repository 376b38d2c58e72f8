package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// value joins one flag to one place in a Config.
type value struct {
	// kind is the word help shows for the argument; empty for a switch, which needs none.
	kind string
	set  func(string) error
	// show gives the present value as the user would write it; empty means nothing worth showing.
	show func() string
}

func (v value) isSwitch() bool { return v.kind == "" }

func of[T any](kind string, p *T, parse func(string) (T, error), show func(T) string) value {
	return value{
		kind: kind,
		set: func(s string) error {
			v, err := parse(s)
			if err == nil {
				*p = v
			}
			return err
		},
		show: func() string { return show(*p) },
	}
}

// ofPtr is of for the optional fields of the config file, where nil means not set.
func ofPtr[T any](kind string, p **T, parse func(string) (T, error), show func(T) string) value {
	return value{
		kind: kind,
		set: func(s string) error {
			v, err := parse(s)
			if err == nil {
				*p = &v
			}
			return err
		},
		show: func() string {
			if *p == nil {
				return ""
			}
			return show(**p)
		},
	}
}

func text[T ~string](p *T) value { return of("string", p, parseText[T], showText[T]) }
func textPtr(p **string) value   { return ofPtr("string", p, parseText[string], showText[string]) }

func parseText[T ~string](s string) (T, error) { return T(s), nil }
func showText[T ~string](s T) string {
	if s == "" {
		return ""
	}
	return strconv.Quote(string(s))
}

func onOff(p *bool) value     { return of("", p, parseBool, strconv.FormatBool) }
func onOffPtr(p **bool) value { return ofPtr("", p, parseBool, strconv.FormatBool) }

func parseBool(s string) (bool, error) {
	b, err := strconv.ParseBool(s)
	if err != nil {
		return false, fmt.Errorf("want true or false")
	}
	return b, nil
}

type integer interface {
	~int | ~int32 | ~int64 | ~uint32
}

func number[T integer](p *T) value     { return of("int", p, parseNumber[T], showNumber[T]) }
func numberPtr[T integer](p **T) value { return ofPtr("int", p, parseNumber[T], showNumber[T]) }

func parseNumber[T integer](s string) (T, error) {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("want a whole number")
	}
	if t := T(n); int64(t) == n {
		return t, nil
	}
	return 0, fmt.Errorf("want a number from %d to %d", lowest[T](), highest[T]())
}

// lowest and highest are the ends of an integer type.
func lowest[T integer]() int64 {
	if T(0)-1 > 0 {
		return 0
	}
	return -highest[T]() - 1
}

func highest[T integer]() int64 {
	n := int64(math.MaxInt64)
	for int64(T(n)) != n {
		n >>= 1
	}
	return n
}

func showNumber[T integer](n T) string { return fmt.Sprint(n) }

func duration(p *metav1.Duration) value {
	return of("duration", &p.Duration, parseDuration, time.Duration.String)
}

func span(p *time.Duration) value { return of("duration", p, parseDuration, time.Duration.String) }

func durationPtr(p **metav1.Duration) value {
	parse := func(s string) (metav1.Duration, error) {
		d, err := parseDuration(s)
		return metav1.Duration{Duration: d}, err
	}
	return ofPtr("duration", p, parse, func(d metav1.Duration) string { return d.Duration.String() })
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf(`want a duration such as "10s", "5m" or "1h30m"`)
	}
	return d, nil
}

func quantity(p *resource.QuantityValue) value {
	parse := func(s string) (resource.Quantity, error) {
		q, err := resource.ParseQuantity(s)
		if err != nil {
			return q, fmt.Errorf(`want a quantity such as "64Ki" or "1M"`)
		}
		return q, nil
	}
	return of("quantity", &p.Quantity, parse, func(q resource.Quantity) string { return q.String() })
}

// list is a comma-separated list. On the command line the first use of the flag replaces what the file says, further uses add.
func list(p *[]string) value {
	first := true
	return value{
		kind: "a,b,…",
		set: func(s string) error {
			if first {
				first, *p = false, []string{}
			}
			*p = append(*p, splitList(s)...)
			return nil
		},
		show: func() string { return strings.Join(*p, ",") },
	}
}

func splitList(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// pairs is a map written key<sep>value,… and behaves as list does.
func pairs(p *map[string]string, sep string) value {
	first := true
	return value{
		kind: "key" + sep + "value,…",
		set: func(s string) error {
			got := map[string]string{}
			for _, part := range splitList(s) {
				k, v, ok := strings.Cut(part, sep)
				if k = strings.TrimSpace(k); !ok || k == "" {
					return fmt.Errorf("want key%svalue pairs with commas between them, not %s", sep, quote(part))
				}
				got[k] = strings.TrimSpace(v)
			}
			if first {
				first, *p = false, map[string]string{}
			}
			maps.Copy(*p, got)
			return nil
		},
		show: func() string { return showPairs(*p, sep) },
	}
}

func showPairs(m map[string]string, sep string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+sep+m[k])
	}
	return strings.Join(out, ",")
}
