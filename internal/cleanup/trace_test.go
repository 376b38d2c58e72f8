package cleanup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/bosun-project/bosun/internal/collect"
)

type mark struct{}

// traced hears of looks.
type traced struct {
	mu   sync.Mutex
	told []string
}

func (l *traced) begin(ctx context.Context) (context.Context, func(error)) {
	return context.WithValue(ctx, mark{}, true), func(err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.told = append(l.told, fmt.Sprint(err))
	}
}

func (l *traced) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	told := l.told
	l.told = nil
	return told
}

// TestImagesAreTraced: every look is told of, by time or by order, with what went wrong; its calls are below it.
func TestImagesAreTraced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCellar()
		w.ready.Set(true)
		l, hears := w.loop(collect.Policy{High: 100, Low: 80}), &traced{}
		l.cfg.Trace = hears.begin
		list := l.cfg.Images
		l.cfg.Images = func(ctx context.Context) ([]collect.Image, error) {
			if ctx.Value(mark{}) == nil {
				t.Error("a listing is not below its look")
			}
			return list(ctx)
		}
		if _, err := l.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.change(func() { w.refused = errors.New("no list") })
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Minute)
		defer cancel()
		if err := l.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff([]string{"<nil>", "no list", "no list"}, hears.take()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestContainersAreTraced does the same for ended containers.
func TestContainersAreTraced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &morgue{}
		m.ready.Set(true)
		l, hears := m.loop(1), &traced{}
		l.cfg.Trace = hears.begin
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Second)
		defer cancel()
		if err := l.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff([]string{"<nil>", "<nil>"}, hears.take()); diff != "" {
			t.Error(diff)
		}
	})
}
