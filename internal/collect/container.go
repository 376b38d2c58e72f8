package collect

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Dead is an ended container whose record and log are still there.
type Dead struct {
	// Pod is its pod, Name its name in the pod.
	Pod  types.UID
	Name string
	ID   string
	// Ended is when it ended; zero if the runtime does not tell.
	Ended time.Time
	// Needed tells that it says what its pod does next: whether the container starts again, and when.
	Needed bool
}

// Keep says how many ended containers of all pods together stay. How many of one container do is its pod's to know, see
// package plan.
type Keep struct {
	// MinAge is how long a container has to have ended before it goes.
	MinAge time.Duration
	// Total is how many stay; less than 0 means any number.
	Total int
}

// Spare returns the ended containers that have to go so that no more than Total stay, the longest ended first. First each
// container of a pod keeps an equal share, one at least; if these are still too many, the oldest go.
func (k Keep) Spare(dead []Dead, now time.Time) []Dead {
	if k.Total < 0 || len(dead) <= k.Total {
		return nil
	}
	dead = slices.Clone(dead)
	slices.SortFunc(dead, func(a, b Dead) int { return cmp.Or(b.Ended.Compare(a.Ended), cmp.Compare(a.ID, b.ID)) }) // newest first
	type owner struct {
		pod  types.UID
		name string
	}
	of := map[owner]int{}
	for _, d := range dead {
		of[owner{d.Pod, d.Name}]++
	}
	share := max(k.Total/len(of), 1)
	var gone, left []Dead
	seen := map[owner]int{}
	for _, d := range dead {
		who := owner{d.Pod, d.Name}
		seen[who]++
		if seen[who] > share && k.may(d, now) {
			gone = append(gone, d)
		} else {
			left = append(left, d)
		}
	}
	for over := len(left) - k.Total; over > 0 && len(left) > 0; {
		last := left[len(left)-1]
		left = left[:len(left)-1]
		if k.may(last, now) {
			gone = append(gone, last)
			over--
		}
	}
	slices.SortStableFunc(gone, func(a, b Dead) int { return cmp.Or(a.Ended.Compare(b.Ended), cmp.Compare(a.ID, b.ID)) })
	return gone
}

// All returns every ended container that no pod needs, the longest ended first: for a disk that is full.
func (k Keep) All(dead []Dead, now time.Time) []Dead {
	k.Total = 0
	return k.Spare(dead, now)
}

func (k Keep) may(d Dead, now time.Time) bool { return !d.Needed && now.Sub(d.Ended) >= k.MinAge }
