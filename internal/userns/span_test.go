package userns

import (
	"math"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	one := func(first, count uint64) []Span { return []Span{{first, count}} }
	both := func(first, count uint64) Delegated {
		return Delegated{Users: one(first, count), Groups: one(first, count), Where: "/etc/subuid"}
	}
	for _, c := range []struct {
		title   string
		d       Delegated
		perPod  uint64
		maxPods int
		want    Span
		err     string
	}{
		{"100 default", Delegated{}, 65536, 110, Span{65536, 110 * 65536}, ""},
		{"100 default with more ids a pod", Delegated{}, 131072, 110, Span{131072, 110 * 131072}, ""},
		{"100 default without pods", Delegated{}, 65536, 0, Span{65536, 0}, ""},
		{"100 default, as many as there are", Delegated{}, 65536, 65534, Span{65536, 65534 * 65536}, ""},
		{"100 default, one too many", Delegated{}, 65536, 65535, Span{}, "maxPods is 65535: a host has no ids for that many"},
		{"100 default, far too many", Delegated{}, 4294901760, math.MaxInt32, Span{}, "idsPerPod is 4294901760 and maxPods is 2147483647"},
		{"100 as documented", both(65536, 7208960), 65536, 110, Span{65536, 7208960}, ""},
		{"100 more than needed", both(131072, 7208960+65536), 65536, 110, Span{131072, 7208960 + 65536}, ""},
		{"100 too few", both(65536, 7208960-65536), 65536, 110, Span{}, "enough for 109 pods of 65536 ids each, not for the 110 of maxPods"},
		{"100 first is no multiple", both(100000, 7208960), 65536, 110, Span{}, "first id, 100000, is not a multiple of 65536"},
		{"100 first is no multiple of idsPerPod", both(65536, 110*131072), 131072, 110, Span{}, "first id, 65536, is not a multiple of 131072 (userNamespaces.idsPerPod)"},
		{"100 length is no multiple", both(65536, 7208961), 65536, 110, Span{}, "number of ids, 7208961, is not a multiple"},
		{"100 ids of the host", both(0, 7208960), 65536, 109, Span{}, "the host's own"},
		{"100 beyond the end", both(4294901760, 65536), 65536, 1, Span{}, "beyond the last id"},
		{"100 up to the end", both(4294836224, 65536), 65536, 1, Span{4294836224, 65536}, ""},
		{"100 groups differ", Delegated{Users: one(65536, 65536), Groups: one(131072, 65536)}, 65536, 1, Span{}, "are not the same"},
		{"100 no groups", Delegated{Users: one(65536, 65536)}, 65536, 1, Span{}, "user ids, but no group ids"},
		{"100 no users", Delegated{Groups: one(65536, 65536)}, 65536, 1, Span{}, "group ids, but no user ids"},
		{"100 several lines", Delegated{Users: append(one(65536, 65536), one(131072, 65536)...), Groups: one(65536, 65536)}, 65536, 1, Span{}, "2 ranges of user ids and 1 of group ids"},
	} {
		t.Run(c.title, func(t *testing.T) {
			got, err := choose(c.d, c.perPod, c.maxPods)
			switch {
			case c.err == "" && (err != nil || got != c.want):
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("got %v, %v, want an error with %q", got, err, c.err)
			}
			if err != nil && c.d.Where != "" && !strings.Contains(err.Error(), c.d.Where) {
				t.Errorf("%q does not say where the ids were read", err)
			}
		})
	}
}

func TestErrorTellsTheLineToWrite(t *testing.T) {
	_, err := choose(Delegated{Users: []Span{{65536, 65536}}, Where: "/etc/subuid"}, 65536, 110)
	if want := "kubelet:65536:7208960 in both /etc/subuid and /etc/subgid"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not tell %q", err, want)
	}
}
