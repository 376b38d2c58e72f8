package source

import (
	"testing"

	"golang.org/x/sys/unix"
)

func FuzzParseEvents(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, unix.SizeofInotifyEvent))
	f.Add(append([]byte{1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0}, 'a', 0, 0, 0, 9))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, e := range parseEvents(data) {
			if len(e.name) > len(data) {
				t.Fatal("a name longer than the data")
			}
		}
	})
}

func TestParseEvents(t *testing.T) {
	got := parseEvents(append(make([]byte, unix.SizeofInotifyEvent), 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 'a', 'b', 0, 0, 7, 7))
	if len(got) != 2 || got[1].wd != 1 || got[1].mask != unix.IN_CLOSE_WRITE || got[1].name != "ab" {
		t.Errorf("events %+v: want an empty one and a close of ab", got)
	}
}
