package translate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ResolvConf is a resolver file, see resolv.conf(5).
type ResolvConf struct{ Servers, Searches, Options []string }

// ParseResolvConf reads a resolver file. As the resolver does, it goes by the last search line and by all option lines,
// and passes over what it does not know. Lines it knows but that lack their value are told of in the error; the rest is
// there all the same.
func ParseResolvConf(data []byte) (ResolvConf, error) {
	var (
		out  ResolvConf
		errs []error
		line int
	)
	for text := range strings.Lines(string(data)) {
		line++
		if i := strings.IndexAny(text, "#;"); i >= 0 {
			text = text[:i]
		}
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if len(words) < 2 {
				errs = append(errs, fmt.Errorf("line %d: nameserver lacks its address", line))
				continue
			}
			out.Servers = append(out.Servers, words[1])
		case "search":
			out.Searches = nil
			for _, domain := range words[1:] {
				if domain != "." { // the root alone means "search nowhere" and must stay
					domain = strings.TrimSuffix(domain, ".")
				}
				if domain != "" {
					out.Searches = append(out.Searches, domain)
				}
			}
		case "options":
			out.Options = mergeOptions(out.Options, words[1:])
		}
	}
	return out, errors.Join(errs...)
}

// mergeOptions adds options to a list in which each name is there once; the later value holds.
func mergeOptions(list, more []string) []string {
	out, at := make([]string, 0, len(list)+len(more)), map[string]int{}
	for _, o := range slices.Concat(list, more) {
		name, _, _ := strings.Cut(o, ":")
		if i, known := at[name]; known {
			out[i] = o
			continue
		}
		at[name] = len(out)
		out = append(out, o)
	}
	return out
}
