package ledger

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"
)

// TestClaimsSurvive: behaviour 241, what is remembered of ResourceClaims is there after a restart, apart from what is of pulls.
func TestClaimsSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bosun.db")
	l := open(t, path, small)
	stop := run(t, l)
	for _, changes := range []map[string][]byte{{"a": []byte("1"), "b": []byte("2")}, {"a": nil, "b": []byte("3")}} {
		if err := l.SaveClaims(t.Context(), changes); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.SavePulls(t.Context(), map[string][]byte{"b": []byte("pull")}); err != nil {
		t.Fatal(err)
	}
	if err := l.SaveClaims(t.Context(), map[string][]byte{"": nil}); err == nil {
		t.Error("a claim without a name was taken")
	}
	stop()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	claims, damaged, err := open(t, path, small).LoadClaims()
	if want := map[string][]byte{"b": []byte("3")}; err != nil || len(damaged) > 0 || !maps.EqualFunc(claims, want, slices.Equal) {
		t.Errorf("got %q, %v, %v; want %q", claims, damaged, err, want)
	}
}
