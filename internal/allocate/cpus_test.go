package allocate

import (
	"slices"
	"testing"
)

func TestParseCPUs(t *testing.T) {
	for text, want := range map[string]string{
		"": "", " ": "", "0": "0", "3,1,2": "1-3", "0-3, 8": "0-3,8", "64,127-129": "64,127-129", "5-5": "5",
	} {
		if s, err := ParseCPUs(text); err != nil || s.String() != want {
			t.Errorf("%q is %s (%v), want %s", text, s, err, want)
		}
	}
	for _, text := range []string{"a", "-1", "1-", "3-1", "1,,2", "1-2-3", "99999999999999999999", "0-4000000000", "16384"} {
		if s, err := ParseCPUs(text); err == nil {
			t.Errorf("%q is taken as %s", text, s)
		}
	}
}

func FuzzParseCPUs(f *testing.F) {
	for _, text := range []string{"", "0-3,8", "1-", "70000", " 1 , 2"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseCPUs(text)
		if err != nil {
			return
		}
		again, err := ParseCPUs(s.String())
		if err != nil || !again.Equal(s) || !slices.Equal(CPUsOf(s.IDs()...), s) || s.Len() != len(s.IDs()) {
			t.Errorf("%q is %s, which is read as %s (%v)", text, s, again, err)
		}
	})
}

func TestSetsOfCPUs(t *testing.T) {
	a, b := CPUsOf(0, 1, 70), CPUsOf(1, 70)
	for want, got := range map[string]CPUs{"0-1,70": a.With(b), "0": a.Without(b), "1,70": a.And(b), "": b.Without(a)} {
		if got.String() != want || got.Empty() != (want == "") {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if !b.Within(a) || a.Within(b) || !CPUs(nil).Within(nil) || a.Has(64) || !a.Has(70) || a.Has(-1) || CPUsOf(-1, mostCPUs) != nil {
		t.Error("Within or Has is wrong")
	}
}
