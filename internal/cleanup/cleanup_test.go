package cleanup

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCleanerTellsOfEachPodOnceALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told [][]Remains
		swept := 0
		c := New(Config{
			Places: []Place{
				{"pods", func() ([]Remains, error) { return []Remains{{UID: "a"}, {UID: "b"}}, nil }},
				{"broken", func() ([]Remains, error) { return nil, errors.New("no such device") }},
			},
			Names: []Place{
				{"logs", func() ([]Remains, error) {
					return []Remains{{UID: "a", Namespace: "ns", Name: "web"}, {UID: "other", Namespace: "ns", Name: "theirs"}}, nil
				}},
			},
			Tell:       func(r []Remains) { told = append(told, r) },
			SweepLinks: func(context.Context) (int, error) { swept++; return 1, nil },
			Log:        slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		if err := c.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(told) != 2 || swept != 2 {
			t.Fatalf("in 90 s it told %d times and swept %d times, want 2 and 2", len(told), swept)
		}
		slices.SortFunc(told[0], func(a, b Remains) int { return strings.Compare(string(a.UID), string(b.UID)) })
		want := []Remains{{UID: "a", Namespace: "ns", Name: "web"}, {UID: "b"}}
		if diff := cmp.Diff(want, told[0]); diff != "" {
			t.Error(diff)
		}
	})
}
