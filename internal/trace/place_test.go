package trace

import (
	"strings"
	"testing"
)

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		parent: parent,
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00":        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03":        parent,
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-future": parent,
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01":        parent,
		"cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01future":  "",
		parent + "-more":        "",
		"ff" + parent[2:]:       "",
		strings.ToUpper(parent): "",
		parent[:54]:             "",
		"":                      "",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01": "",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01": "",
		"00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01": "",
		"00-zzf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01": "",
	} {
		p := Parse(text, "vendor=1")
		if !p.Known() {
			if want != "" || p != (Place{}) {
				t.Errorf("%q: %+v, want %q", text, p, want)
			}
			continue
		}
		if p.String() != want || p.State != "vendor=1" {
			t.Errorf("%q: %s with %q, want %q", text, p, p.State, want)
		}
	}
	if p := Parse(parent, strings.Repeat("x", mostState+1)); !p.Known() || p.State != "" {
		t.Errorf("a state that is too long: %+v", p)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(parent, "a=b")
	f.Add("cc"+parent[2:]+"-x", "")
	f.Fuzz(func(t *testing.T, text, state string) {
		p := Parse(text, state)
		if again := Parse(p.String(), p.State); p.Known() && again != p {
			t.Errorf("%q: %+v is read again as %+v", text, p, again)
		}
	})
}

// FuzzRejected reads whatever a collector may answer.
func FuzzRejected(f *testing.F) {
	f.Add([]byte{})
	f.Add(message(nil, answerPartial, text(number(nil, partialRejected, 3), partialMessage, "too many")))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if n, why := rejected(answer); why == "" && n != 0 {
			t.Errorf("%d spans were rejected and nobody is told", n)
		}
	})
}

func TestRejected(t *testing.T) {
	for _, c := range []struct {
		answer []byte
		n      int64
		why    string
	}{
		{nil, 0, ""},
		{message(nil, answerPartial, nil), 0, ""},
		{message(nil, answerPartial, text(number(nil, partialRejected, 3), partialMessage, "too many")), 3, "too many"},
		{message(nil, answerPartial, number(nil, partialRejected, 1)), 1, unknownRejection},
	} {
		if n, why := rejected(c.answer); n != c.n || why != c.why {
			t.Errorf("%x: %d, %q, want %d, %q", c.answer, n, why, c.n, c.why)
		}
	}
}
