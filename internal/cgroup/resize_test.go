package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestGrowAndSettle holds the order in which a pod's cgroup changes: room for more first, and less only at the end
// (behaviours 226, 227).
func TestGrowAndSettle(t *testing.T) {
	tree, root := fakeV2(t, Config{}, "cpu memory pids")
	dir := filepath.Join(root, "kubepods", "poduid-1")
	say := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when, want string) {
		t.Helper()
		if got := content(t, dir, "cpu.weight") + ", " + content(t, dir, "cpu.max") + ", " + content(t, dir, "memory.max"); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	if err := tree.Grow(t.Context(), podOf("cpu=1 memory=100/cpu=1 memory=100"), false); err != nil { // makes it
		t.Fatal(err)
	}
	check("made", "39, 100000 100000, 100")
	if err := tree.Grow(t.Context(), podOf("cpu=2 memory=50/cpu=2 memory=50"), false); err != nil {
		t.Fatal(err)
	}
	check("grown", "79, 200000 100000, 100")
	if err := tree.Grow(t.Context(), podOf("cpu=1 memory=50/cpu=1 memory=50"), false); err != nil {
		t.Fatal(err)
	}
	check("nothing grows", "79, 200000 100000, 100")
	say("memory.current", "60\n")
	less := podOf("cpu=1 memory=50/cpu=1 memory=50")
	if err := tree.Settle(t.Context(), less, false); !errors.Is(err, ErrInUse) {
		t.Errorf("Settle below what is used = %v, want ErrInUse", err)
	}
	say("memory.stat", "anon 1\ninactive_file 20\n")
	if err := tree.Settle(t.Context(), less, false); err != nil {
		t.Error(err)
	}
	check("settled", "39, 100000 100000, 50")
	if err := tree.Grow(t.Context(), podOf("cpu=1/"), false); err != nil { // burstable: another cgroup
		t.Error(err)
	}
	say("cpu.max", "max 100000")
	say("memory.max", "max")
	if err := tree.Grow(t.Context(), podOf("cpu=3 memory=70/cpu=3 memory=70"), false); err != nil {
		t.Error(err)
	}
	check("no limit stays none", "118, max 100000, max")
}

func TestSharesOfWeight(t *testing.T) {
	for shares := uint64(MinShares); shares <= MaxShares; shares += 17 {
		if most := sharesOf(Weight(shares)); most < shares || Weight(most) != Weight(shares) || most < MaxShares && Weight(most+1) == Weight(most) {
			t.Fatalf("%d shares have weight %d, which is said to be that of up to %d", shares, Weight(shares), most)
		}
	}
}
