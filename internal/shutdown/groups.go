package shutdown

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bosun-project/bosun/internal/qos"
)

// Group is the pods from one priority up to the next group's, and how long they get, all together, to end.
type Group struct {
	Priority int32
	Period   time.Duration
}

// Groups are those of the configuration, in the order in which they end: by shutdownGracePeriodByPodPriority if there is any,
// else the critical pods, which have the last part of the whole period, after the others (behaviour 306). None means that pods
// get no time.
func Groups(whole, critical time.Duration, byPriority []Group) []Group {
	switch {
	case len(byPriority) > 0:
		groups := slices.Clone(byPriority)
		slices.SortStableFunc(groups, func(a, b Group) int { return cmp.Compare(a.Priority, b.Priority) })
		if Total(groups) > 0 {
			return groups
		}
	case whole > 0:
		return []Group{{0, whole - critical}, {qos.CriticalPriority, critical}}
	}
	return nil
}

// Total is how long all groups together get.
func Total(groups []Group) (total time.Duration) {
	for _, g := range groups {
		total += g.Period
	}
	return total
}

// fit shortens the groups, all by the same share, when there is less time than they want. No time means that it is not known.
func fit(groups []Group, most time.Duration) []Group {
	total := Total(groups)
	if most <= 0 || most >= total {
		return groups
	}
	out := slices.Clone(groups)
	for i := range out {
		out[i].Period = time.Duration(float64(out[i].Period) * (float64(most) / float64(total)))
	}
	return out
}

// groupOf is which group a pod of some priority belongs to: the last one that begins at or below it. What is below all belongs
// to the first.
func groupOf(groups []Group, priority int32) int {
	at := 0
	for i, g := range groups {
		if g.Priority <= priority {
			at = i
		}
	}
	return at
}

// describe is the groups in words.
func describe(groups []Group) string {
	words := make([]string, 0, len(groups))
	for i, g := range groups {
		from := fmt.Sprintf("priority %d and above", g.Priority)
		if i == 0 {
			from = "lowest priorities"
		}
		words = append(words, fmt.Sprintf("%s: %v", from, g.Period))
	}
	return strings.Join(words, ", ")
}
