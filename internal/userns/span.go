package userns

import (
	"errors"
	"fmt"
	"math"

	"github.com/bosun-project/bosun/internal/translate"
)

// Unit is the smallest number of ids a pod can have; the ids below it belong to the host itself.
const Unit = 65536

// last is the end of all ids: 2^32-1 means "no id" to the kernel, which also refuses maps that reach 2^32.
const last = math.MaxUint32

// A Span is a piece of the host's ids: Count ids from First on. Its fields are wider than ids, so that sums cannot wrap.
type Span struct{ First, Count uint64 }

func (s Span) end() uint64 { return s.First + s.Count }

func (s Span) String() string { return fmt.Sprintf("%d ids from %d on", s.Count, s.First) }

// idRange is the span in the words of package translate.
func (s Span) idRange() *translate.IDRange {
	return &translate.IDRange{First: uint32(s.First), Length: uint32(s.Count)}
}

// Delegated is what the operator set aside for pods, users and groups each. Where names the source, for messages.
type Delegated struct {
	Users, Groups []Span
	Where         string
}

// choose decides which ids of the host are for pods: those that are delegated if they fit, or else those right above
// the host's own.
func choose(d Delegated, perPod uint64, maxPods int) (Span, error) {
	need := perPod * uint64(maxPods)
	if len(d.Users) == 0 && len(d.Groups) == 0 {
		s := Span{First: perPod, Count: need} // the first multiple of perPod that is not the host's
		if s.end() > last {
			return Span{}, fmt.Errorf("userNamespaces.idsPerPod is %d and maxPods is %d: a host has no ids for that many pods; lower one of them", perPod, maxPods)
		}
		return s, nil
	}
	wrong := func(format string, args ...any) (Span, error) {
		advice := fmt.Sprintf("want one line such as %s:%d:%d in both /etc/subuid and /etc/subgid", user, perPod, need)
		return Span{}, fmt.Errorf("the ids for pods with hostUsers: false, which %s delegates to user %s, cannot be used: %w; %s",
			d.Where, user, fmt.Errorf(format, args...), advice)
	}
	switch {
	case len(d.Users) == 0:
		return wrong("there are group ids, but no user ids")
	case len(d.Groups) == 0:
		return wrong("there are user ids, but no group ids")
	case len(d.Users) > 1 || len(d.Groups) > 1:
		return wrong("there are %d ranges of user ids and %d of group ids, instead of one each", len(d.Users), len(d.Groups))
	case d.Users[0] != d.Groups[0]:
		return wrong("user ids (%s) and group ids (%s) are not the same", d.Users[0], d.Groups[0])
	}
	s := d.Users[0]
	switch {
	case s.First < Unit:
		return wrong("%s reach into the host's own, those below %d", s, Unit)
	case s.First%perPod != 0:
		return wrong("the first id, %d, is not a multiple of %d (userNamespaces.idsPerPod)", s.First, perPod)
	case s.Count%perPod != 0:
		return wrong("the number of ids, %d, is not a multiple of %d (userNamespaces.idsPerPod)", s.Count, perPod)
	case s.end() > last:
		return wrong("%s reach beyond the last id of a host, %d", s, uint32(last-1))
	case s.Count < need:
		return wrong("%d ids are enough for %d pods of %d ids each, not for the %d of maxPods", s.Count, s.Count/perPod, perPod, maxPods)
	}
	return s, nil
}

// usable says what is wrong with a span that a record gives to a pod.
func usable(s Span) error {
	switch {
	case s.Count == 0 || s.Count%Unit != 0:
		return fmt.Errorf("length %d is not a multiple of %d", s.Count, Unit)
	case s.First < Unit:
		return fmt.Errorf("the ids from %d on belong to the host", s.First)
	case s.end() > last:
		return errors.New("the ids reach beyond the last one of a host")
	}
	return nil
}
