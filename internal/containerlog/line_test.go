package containerlog

import (
	"bytes"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	at := time.Date(2016, 10, 6, 0, 17, 9, 669794202, time.UTC)
	for _, c := range []struct {
		title, line string
		want        piece
		ok          bool
	}{
		{"full", "2016-10-06T00:17:09.669794202Z stdout F some text ", piece{at: at, stream: Stdout, text: []byte("some text ")}, true},
		{"part", "2016-10-06T00:17:09.669794202Z stderr P some", piece{at: at, stream: Stderr, partial: true, text: []byte("some")}, true},
		{"more tags", "2016-10-06T00:17:09.669794202Z stdout P:new:tags x", piece{at: at, stream: Stdout, partial: true, text: []byte("x")}, true},
		{"empty", "2016-10-06T00:17:09.669794202Z stdout F ", piece{at: at, stream: Stdout}, true},
		{"empty without blank", "2016-10-06T00:17:09.669794202Z stdout F", piece{at: at, stream: Stdout}, true},
		{"zone", "2016-10-06T02:17:09.669794202+02:00 stdout F x", piece{at: at, stream: Stdout, text: []byte("x")}, true},
		{"docker", `{"log":"some \"text\"\n","stream":"stdout","time":"2016-10-06T00:17:09.669794202Z"}`, piece{at: at, stream: Stdout, text: []byte(`some "text"`)}, true},
		{"docker part", `{"log":"some","stream":"stderr","time":"2016-10-06T00:17:09.669794202Z"}`, piece{at: at, stream: Stderr, partial: true, text: []byte(`some`)}, true},
		{"docker without log", `{"stream":"stderr","time":"2016-10-06T00:17:09.669794202Z"}`, piece{}, false},
		{"unknown stream", "2016-10-06T00:17:09.669794202Z stdin F x", piece{}, false},
		{"unknown tag", "2016-10-06T00:17:09.669794202Z stdout X x", piece{}, false},
		{"bad time", "yesterday stdout F x", piece{}, false},
		{"torn", "2016-10-06T00:17:09.66979", piece{}, false},
		{"nothing", "", piece{}, false},
	} {
		t.Run(c.title, func(t *testing.T) {
			got, ok := parse([]byte(c.line))
			if ok != c.ok {
				t.Fatalf("parsed: %v, want %v", ok, c.ok)
			}
			if ok && (!got.at.Equal(c.want.at) || got.stream != c.want.stream || got.partial != c.want.partial || !bytes.Equal(got.text, c.want.text)) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// FuzzLines: whatever is in a file, reading it ends, neither panics nor shows more than there is, and the tail of all
// lines is the whole.
func FuzzLines(f *testing.F) {
	f.Add([]byte("2016-10-06T00:17:09.669794202Z stdout F some text\n2016-10-06T00:17:10Z stdout P some\n"), uint8(1))
	f.Add([]byte(`{"log":"x\n","stream":"stdout","time":"2016-10-06T00:17:09Z"}`+"\n"), uint8(0))
	f.Add([]byte("\n\n\x00{\n"), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, n uint8) {
		whole := shown(t, data, Options{})
		most := int64(len(data)) + 1
		if got := shown(t, data, Options{Tail: &most}); !bytes.Equal(got, whole) {
			t.Errorf("a tail of everything is %q, the whole is %q", got, whole)
		}
		few := int64(n)
		if got := shown(t, data, Options{Tail: &few}); !bytes.HasSuffix(whole, got) && !bytes.Contains(data, []byte(" P")) && !bytes.Contains(data, []byte("{")) {
			t.Errorf("tail %q is not the end of %q", got, whole)
		}
		if got := shown(t, data, Options{LimitBytes: 5}); len(got) > 5 || !bytes.HasPrefix(whole, got) {
			t.Errorf("limited to 5 bytes: %q of %q", got, whole)
		}
	})
}
