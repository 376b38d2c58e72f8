package image

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

type ingests struct {
	list []Ingest
	err  error
}

func (i *ingests) List(context.Context) ([]Ingest, error) { return i.list, i.err }

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		in := &ingests{list: []Ingest{{Ref: "layer-old", Offset: 5, Total: 10, Updated: began.Add(-time.Hour)}}}
		p := New(Config{Service: &fake{}, Ingests: in, MaxParallel: 1})
		look := func(when, want string) {
			t.Helper()
			got, err := p.Progress(t.Context())
			var text []string
			for _, pull := range got.Pulls {
				began := "queued"
				if !pull.Began.IsZero() {
					began = "running"
				}
				text = append(text, fmt.Sprintf("%s %s for %d: %d/%d", pull.Image, began, pull.Waiters, pull.Done, pull.Total))
			}
			text = append(text, fmt.Sprintf("all %d/%d", got.Done, got.Total))
			if err != nil || strings.Join(text, ", ") != want {
				t.Errorf("%s: %s, %v\nwant %s", when, strings.Join(text, ", "), err, want)
			}
		}
		look("idle", "all 0/0")
		var all sync.WaitGroup
		ensure := func(image string) {
			all.Go(func() {
				if _, err := p.Ensure(t.Context(), Request{Image: image}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		ensure("a")
		ensure("a")
		time.Sleep(time.Millisecond)
		ensure("b")
		look("only an abandoned download", "a running for 2: 0/0, b queued for 1: 0/0, all 0/0")
		in.list = append(in.list, Ingest{"layer-1", 10, 100, began}, Ingest{"layer-2", 0, 50, began}, Ingest{"index", 7, 0, began})
		look("two layers", "a running for 2: 10/150, b queued for 1: 0/0, all 10/150")
		in.list = []Ingest{{"layer-2", 60, 50, began}}
		look("one is complete", "a running for 2: 150/150, b queued for 1: 0/0, all 150/150")
		in.err = errors.New("containerd is away")
		if got, err := p.Progress(t.Context()); err == nil || len(got.Pulls) != 2 || got.Done != 150 {
			t.Errorf("without bytes: %+v, %v", got, err)
		}
		in.err = nil
		all.Wait()
		look("idle again", "all 0/0")
	})
}
