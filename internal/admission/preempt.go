package admission

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
	"github.com/bosun-project/bosun/internal/reason"
)

// preempt finds the pods that have to give way to a critical one: as few as will do, and of those that asked for the
// least first (behaviour 43).
func preempt(candidate *pod.Desired, running []*pod.Desired, short []shortage) plan.Verdict {
	weaker := map[v1.PodQOSClass][]*pod.Desired{}
	var all []*pod.Desired
	for _, d := range running {
		if givesWay(d, candidate) {
			class := qos.ClassOf(d.Pod)
			weaker[class] = append(weaker[class], d)
			all = append(all, d)
		}
	}
	if !covered(lacking(short, all)) {
		return refuse(reason.UnexpectedAdmissionError,
			"Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: "+
				"no set of running pods found to reclaim resources: %s", listed(short)).verdict()
	}
	// A pod of a better class gives way only where all pods of the lesser classes together would not do.
	chosen := pick(weaker[v1.PodQOSGuaranteed], lacking(short, weaker[v1.PodQOSBestEffort], weaker[v1.PodQOSBurstable]))
	chosen = append(chosen, pick(weaker[v1.PodQOSBurstable], lacking(short, weaker[v1.PodQOSBestEffort], chosen))...)
	chosen = append(chosen, pick(weaker[v1.PodQOSBestEffort], lacking(short, chosen))...)
	var victims []types.UID
	var names []string
	for _, d := range chosen {
		victims = append(victims, d.UID())
		names = append(names, d.Pod.Namespace+"/"+d.Pod.Name)
	}
	return plan.Verdict{Victims: victims, Detail: string(short[0].name), Message: "pods that give way to this critical one have to end: " + strings.Join(names, ", ")}
}

// givesWay tells whether a pod may be ended for a critical one. A static pod never is: nobody would bring it back.
func givesWay(d, critical *pod.Desired) bool {
	return !d.Static() && (!qos.Critical(d) || priority(d) < priority(critical))
}

func priority(d *pod.Desired) int32 {
	if p := d.Pod.Spec.Priority; p != nil {
		return *p
	}
	if d.Static() {
		return qos.CriticalPriority
	}
	return 0
}

// lack is what is missing of each resource.
type lack map[v1.ResourceName]int64

// lacking is what is still missing when these pods have given way.
func lacking(short []shortage, gone ...[]*pod.Desired) lack {
	left := lack{}
	for _, s := range short {
		left[s.name] = s.missing()
		for _, pods := range gone {
			for _, d := range pods {
				left[s.name] -= takes(d, s.name)
			}
		}
	}
	return left
}

func covered(l lack) bool {
	for _, missing := range l {
		if missing > 0 {
			return false
		}
	}
	return true
}

// pick takes pods, each time the one that brings what is missing closest to nothing, until nothing is missing or none
// is left. Of equal ones it takes the smaller, then the younger. In the end, whoever turned out not to be needed stays.
func pick(from []*pod.Desired, missing lack) []*pod.Desired {
	from = slices.Clone(from)
	var out []*pod.Desired
	for len(from) > 0 && !covered(missing) {
		best := slices.MinFunc(from, func(a, b *pod.Desired) int {
			return cmp.Or(cmp.Compare(distance(a, missing), distance(b, missing)), cmp.Compare(size(a, missing), size(b, missing)),
				b.Pod.CreationTimestamp.Compare(a.Pod.CreationTimestamp.Time), b.Seen.Compare(a.Seen), cmp.Compare(a.UID(), b.UID()))
		})
		out = append(out, best)
		for name := range missing {
			missing[name] -= takes(best, name)
		}
		from = slices.DeleteFunc(from, func(d *pod.Desired) bool { return d == best })
	}
	for i := 0; i < len(out); {
		without := lack{}
		for name := range missing {
			without[name] = missing[name] + takes(out[i], name)
		}
		if covered(without) {
			out, missing = slices.Delete(out, i, i+1), without
		} else {
			i++
		}
	}
	return out
}

// distance is how far from enough it would still be without a pod: 0 is enough, each resource adds at most 1.
func distance(d *pod.Desired, missing lack) float64 {
	sum := 0.0
	for _, name := range missing.names() {
		if m := missing[name]; m > 0 {
			left := float64(max(m-takes(d, name), 0)) / float64(m)
			sum += left * left
		}
	}
	return sum
}

// size is how much more than a pod's share is given up by ending it.
func size(d *pod.Desired, missing lack) float64 {
	sum := 0.0
	for _, name := range missing.names() {
		if m := missing[name]; m > 0 {
			sum += float64(takes(d, name)) / float64(m)
		}
	}
	return sum
}

// names are in a fixed order: sums of fractions depend on it.
func (l lack) names() []v1.ResourceName {
	out := make([]v1.ResourceName, 0, len(l))
	for name := range l {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func listed(short []shortage) string {
	var b strings.Builder
	for _, s := range short {
		fmt.Fprintf(&b, "(res: %s, q: %d), ", s.name, s.missing())
	}
	return "[" + b.String() + "]"
}
