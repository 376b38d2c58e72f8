package note_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/note"
)

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func about(name string) note.About {
	return note.About{Kind: "Pod", Namespace: "default", Name: name, UID: types.UID("uid-" + name)}
}

func TestMerge(t *testing.T) {
	n := func(after time.Duration, reason, message string) note.Note {
		return note.Note{At: start.Add(after), About: about("web"), Reason: reason, Message: message}
	}
	other := n(0, "BackOff", "x")
	other.About = about("db")
	for name, c := range map[string]struct {
		notes []note.Note
		want  string
	}{
		"one":                      {[]note.Note{n(0, "BackOff", "x")}, "BackOff/x×1@0s-0s"},
		"311 same counts up":       {[]note.Note{n(0, "BackOff", "x"), n(5*time.Minute, "BackOff", "x")}, "BackOff/x×2@0s-5m0s"},
		"the window moves on":      {[]note.Note{n(0, "B", "x"), n(9*time.Minute, "B", "x"), n(18*time.Minute, "B", "x")}, "B/x×3@0s-18m0s"},
		"after ten minutes anew":   {[]note.Note{n(0, "B", "x"), n(11*time.Minute, "B", "x")}, "B/x×1@0s-0s B/x×1@11m0s-11m0s"},
		"other message":            {[]note.Note{n(0, "B", "x"), n(1, "B", "y")}, "B/x×1@0s-0s B/y×1@1ns-1ns"},
		"other reason":             {[]note.Note{n(0, "B", "x"), n(1, "C", "x")}, "B/x×1@0s-0s C/x×1@1ns-1ns"},
		"other object":             {[]note.Note{other, n(1, "BackOff", "x")}, "BackOff/x×1@0s-0s BackOff/x×1@1ns-1ns"},
		"a repeated one is newest": {[]note.Note{n(0, "B", "x"), n(1, "C", "x"), n(2, "B", "x")}, "C/x×1@1ns-1ns B/x×2@0s-2ns"},
		"only the newest are kept": {[]note.Note{n(0, "A", ""), n(1, "B", ""), n(2, "C", ""), n(3, "D", "")}, "B/×1@1ns-1ns C/×1@2ns-2ns D/×1@3ns-3ns"},
		"told late":                {[]note.Note{n(time.Minute, "B", "x"), n(0, "B", "x")}, "B/x×2@1m0s-1m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			var list []note.Note
			for _, n := range c.notes {
				list = note.Merge(list, n, 3)
			}
			got := ""
			for _, n := range list {
				got += fmt.Sprintf(" %s/%s×%d@%s-%s", n.Reason, n.Message, n.Count, n.Since.Sub(start), n.At.Sub(start))
			}
			if got != " "+c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestMergeLeavesItsArgumentAlone(t *testing.T) {
	one := note.Merge(nil, note.Note{At: start, About: about("web"), Reason: "A"}, 2)
	two := note.Merge(one, note.Note{At: start, About: about("web"), Reason: "A"}, 2)
	if one[0].Count != 1 || two[0].Count != 2 {
		t.Errorf("counts %d and %d, want 1 and 2", one[0].Count, two[0].Count)
	}
}

func TestListKeepsQuietPodsBesideNoisyOnes(t *testing.T) {
	l := note.NewList()
	l.Add(note.Note{At: start, About: about("quiet"), Reason: "Started"})
	for i := range 1000 {
		l.Add(note.Note{At: start.Add(time.Duration(i) * time.Second), About: about("noisy"), Reason: "Failed", Message: fmt.Sprint(i)})
	}
	if got := l.All("uid-quiet"); len(got) != 1 || got[0].Reason != "Started" {
		t.Errorf("the quiet pod has %v", got)
	}
	noisy := l.All("uid-noisy")
	if len(noisy) != 50 || noisy[49].Message != "999" {
		t.Errorf("the noisy pod has %d notes, the last %q", len(noisy), noisy[len(noisy)-1].Message)
	}
	if got := len(l.All("")); got != 51 {
		t.Errorf("there are %d notes in all, want 51", got)
	}
}

func TestListIsBounded(t *testing.T) {
	l := note.NewList()
	for i := range 2000 {
		l.Add(note.Note{At: start.Add(time.Duration(i) * time.Second), About: about(fmt.Sprint("p", i)), Reason: "Started"})
	}
	if got := len(l.All("")); got != 500 {
		t.Errorf("%d objects are kept, want 500", got)
	}
	if len(l.All("uid-p1999")) != 1 || len(l.All("uid-p0")) != 0 {
		t.Error("the objects kept are not the newest")
	}
}

func TestListTakesNotesFromManyAtOnce(t *testing.T) {
	l := note.NewList()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				l.Add(note.Note{At: start, About: about("web"), Reason: "Started"})
				l.All("")
			}
		})
	}
	group.Wait()
	if got := l.All("uid-web"); len(got) != 1 || got[0].Count != 800 {
		t.Errorf("got %v, want one note counted 800 times", got)
	}
}

func TestAddTellsWhatIsNews(t *testing.T) {
	l := note.NewList()
	n := note.Note{At: time.Unix(0, 0), About: note.About{Kind: "Pod", Name: "web"}, Reason: "BackOff", Message: "again"}
	for _, step := range []struct {
		after time.Duration
		edit  func(*note.Note)
		news  bool
	}{
		{0, nil, true},
		{time.Minute, nil, false},
		{10 * time.Minute, nil, false}, // ten minutes after the last one
		{11 * time.Minute, nil, true},
		{time.Second, func(n *note.Note) { n.Message = "other" }, true},
		{0, func(n *note.Note) { n.About.Name = "db" }, true},
	} {
		n.At = n.At.Add(step.after)
		if step.edit != nil {
			step.edit(&n)
		}
		if got := l.Add(n); got != step.news {
			t.Errorf("%v later, %s of %s: news is %t", step.after, n.Message, n.About.Name, got)
		}
	}
}
