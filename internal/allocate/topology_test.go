package allocate

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestMerge(t *testing.T) {
	hint := func(preferred bool, ids ...int) Hint { return Hint{Nodes: NodesOf(ids...), Preferred: preferred} }
	offer := func(hints ...Hint) Offer { return Offer{Resource: "r", Hints: hints} }
	// Four nodes in a row: 0-1-2-3, and 0 is as near to 3 as to 1.
	ring := func(from, to int) int {
		d := min((from-to+4)%4, (to-from+4)%4)
		return 10 + 10*d
	}
	for name, c := range map[string]struct {
		policy string
		offers []Offer
		want   Hint
		refuse bool
		near   bool
	}{
		"nobody has an opinion": {PolicyRestricted, []Offer{Anywhere("cpu"), {Hints: []Hint{{Preferred: true}}}}, Hint{Preferred: true}, false, false},
		"no policy":             {PolicyNone, []Offer{offer()}, Hint{}, false, false},
		"the one both prefer":   {PolicySingleNode, []Offer{offer(hint(true, 0), hint(true, 1)), offer(hint(true, 1), hint(false, 0, 1))}, hint(true, 1), false, false},
		"the lowest":            {PolicyBestEffort, []Offer{offer(hint(true, 2), hint(true, 1)), Anywhere("x")}, hint(true, 1), false, false},
		"common part, not wanted": {PolicyBestEffort, []Offer{offer(hint(true, 0), hint(false, 0, 1)), offer(hint(true, 1), hint(false, 0, 1))},
			hint(false, 0), false, false},
		"restricted wants one all prefer": {PolicyRestricted, []Offer{offer(hint(true, 0), hint(false, 0, 1)), offer(hint(true, 1), hint(false, 0, 1))},
			Hint{}, true, false},
		"restricted takes two nodes when both prefer them": {PolicyRestricted, []Offer{offer(hint(true, 0, 1)), offer(hint(true, 0, 1), hint(false, 0))}, hint(true, 0, 1), false, false},
		"single does not":                                {PolicySingleNode, []Offer{offer(hint(true, 0, 1)), offer(hint(true, 0, 1))}, Hint{}, true, false},
		"no hints at all":                                {PolicyBestEffort, []Offer{offer()}, Hint{}, false, false},
		"no hints beside some":                           {PolicyBestEffort, []Offer{offer(), offer(hint(true, 3))}, hint(false, 3), false, false},
		"no hints, restricted":                           {PolicyRestricted, []Offer{offer(hint(true, 3)), offer()}, Hint{}, true, false},
		"as large as the largest needs":                  {PolicyBestEffort, []Offer{offer(hint(false, 0), hint(false, 0, 1), hint(false, 0, 1, 2)), offer(hint(true, 0, 1), hint(false, 0, 1, 2))}, hint(false, 0, 1), false, false},
		"everywhere is nowhere":                          {PolicyBestEffort, []Offer{offer(hint(false, 0, 1, 2, 3))}, Hint{}, false, false},
		"two nodes, the lower":                           {PolicyRestricted, []Offer{offer(hint(true, 0, 2), hint(true, 0, 3))}, hint(true, 0, 2), false, false},
		"two nodes, the nearer":                          {PolicyRestricted, []Offer{offer(hint(true, 0, 2), hint(true, 0, 3))}, hint(true, 0, 3), false, true},
		"nodes that are not there, and no opinion of it": {PolicyBestEffort, []Offer{offer(hint(true, 9)), offer(hint(true, 1))}, hint(false, 1), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			top := Topology{Policy: c.policy, Nodes: NodesOf(0, 1, 2, 3), Closest: c.near, Distance: ring}
			got, ok := top.Merge(c.offers)
			if got != c.want || ok == c.refuse {
				t.Errorf("Merge = %v %v %v, want %v, refused %v", got.Nodes, got.Preferred, ok, c.want, c.refuse)
			}
		})
	}
}

// Whatever is offered: the answer does not depend on the order, lies within some hint of each offer that has any, and a policy that refuses
// nothing but what is not preferred says so.
func TestMergeOfAnything(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		var offers []Offer
		for range r.IntN(4) {
			o := Offer{Anywhere: r.IntN(6) == 0}
			for range r.IntN(5) {
				o.Hints = append(o.Hints, Hint{Nodes: Nodes(1 + r.IntN(15)), Preferred: r.IntN(2) == 0})
			}
			offers = append(offers, o)
		}
		best, ok := Topology{Policy: PolicyBestEffort, Nodes: 15}.Merge(offers)
		if !ok {
			t.Fatalf("best effort refused %v", offers)
		}
		strict, ok := Topology{Policy: PolicyRestricted, Nodes: 15}.Merge(offers)
		if ok != best.Preferred || ok && strict != best {
			t.Fatalf("restricted says %v %v where best effort says %v, of %v", strict, ok, best, offers)
		}
		one, ok := Topology{Policy: PolicySingleNode, Nodes: 15}.Merge(offers)
		if ok && one.Nodes.Len() > 1 || ok && !best.Preferred {
			t.Fatalf("single node says %v where best effort says %v, of %v", one, best, offers)
		}
		other := slices.Clone(offers)
		for i := range other {
			other[i].Hints = slices.Clone(other[i].Hints)
			r.Shuffle(len(other[i].Hints), func(a, b int) { h := other[i].Hints; h[a], h[b] = h[b], h[a] })
		}
		r.Shuffle(len(other), func(a, b int) { other[a], other[b] = other[b], other[a] })
		if again, _ := (Topology{Policy: PolicyBestEffort, Nodes: 15}).Merge(other); again != best {
			t.Fatalf("%v gives %v, in another order %v", offers, best, again)
		}
		for _, o := range offers {
			if !o.Anywhere && len(o.Hints) > 0 && best.Nodes != 0 && !slices.ContainsFunc(o.Hints, func(h Hint) bool { return best.Nodes.Within(h.Nodes) }) {
				t.Fatalf("%v is within no hint of %v", best.Nodes, o)
			}
		}
	}
}

func TestTooManyNodes(t *testing.T) {
	top := Topology{Policy: PolicyRestricted, Nodes: 1<<9 - 1}
	if !top.TooLarge() || top.Asks() {
		t.Error("nine nodes are asked")
	}
	top.Most = 9
	if top.TooLarge() || !top.Asks() {
		t.Error("nine nodes are not asked, though nine are allowed")
	}
}

func TestSubsets(t *testing.T) {
	var got []string
	for s := range NodesOf(0, 2, 5).Subsets {
		got = append(got, s.String())
	}
	if want := []string{"0", "2", "5", "0,2", "0,5", "2,5", "0,2,5"}; !slices.Equal(got, want) {
		t.Errorf("subsets %v, want %v", got, want)
	}
}
