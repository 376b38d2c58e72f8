package cleanup

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/bosun-project/bosun/internal/collect"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
)

// morgue is the table of pods in so far as it shows ended containers.
type morgue struct {
	ready  latest.Cell[bool]
	dead   latest.Cell[[]collect.Dead]
	mu     sync.Mutex
	failed error
	notes  []string
}

func (m *morgue) loop(total int) *Containers {
	return NewContainers(ContainersConfig{
		Keep: collect.Keep{Total: total}, Ready: m.ready.Get, Dead: m.dead.Get,
		Failed: func(time.Time) error { m.mu.Lock(); defer m.mu.Unlock(); return m.failed },
		Notes: func(n note.Note) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.notes = append(m.notes, n.Level.String()+" "+n.About.Kind+" "+n.Reason+" "+n.Message)
		},
		Log: slog.New(slog.DiscardHandler),
	})
}

func (m *morgue) die(ids ...string) {
	dead := slices.Clone(m.dead.Value())
	for _, id := range ids {
		dead = append(dead, collect.Dead{Pod: "p", Name: "app", ID: id, Ended: time.Now()})
	}
	m.dead.Set(dead)
}

func (m *morgue) bury(ids ...string) {
	m.dead.Set(slices.DeleteFunc(slices.Clone(m.dead.Value()), func(d collect.Dead) bool { return slices.Contains(ids, d.ID) }))
}

func doomedNow(l *Containers) []string {
	d, _ := l.Doomed()
	var ids []string
	for id := range d["p"] {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func TestContainers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &morgue{}
		l := m.loop(2)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() {
			if err := l.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		expect := func(when string, want ...string) {
			t.Helper()
			if diff := gocmp.Diff(want, doomedNow(l)); diff != "" {
				t.Errorf("%s: %s", when, diff)
			}
		}
		for _, id := range []string{"1", "2", "3", "4"} {
			m.die(id)
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Minute)
		expect("before it is known what is wanted")
		m.ready.Set(true)
		time.Sleep(time.Minute)
		expect("with more than may stay", "1", "2")
		_, newer := l.Doomed()
		time.Sleep(3 * time.Minute)
		select {
		case <-newer:
			t.Error("readers were woken though nothing is new")
		default:
		}
		m.bury("1")
		time.Sleep(time.Minute)
		expect("while one is still there", "2")
		m.bury("2")
		time.Sleep(time.Minute)
		expect("when all have gone")
		m.mu.Lock()
		m.failed = errors.New("remove container 5: device or resource busy")
		m.mu.Unlock()
		time.Sleep(time.Minute)
		m.mu.Lock()
		if diff := gocmp.Diff([]string{"Warning Node ContainerGCFailed remove container 5: device or resource busy"}, m.notes); diff != "" {
			t.Error(diff)
		}
		m.mu.Unlock()
		cancel()
		group.Wait()
	})
}

// TestContainersCollect holds what an eviction asks for: all that no pod needs goes, and it is known when it has gone.
func TestContainersCollect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &morgue{}
		l := m.loop(-1)
		m.die("1", "2")
		m.dead.Set(append(m.dead.Value(), collect.Dead{Pod: "p", Name: "other", ID: "needed", Needed: true}))
		if n, err := l.Collect(t.Context()); n != 0 || err != nil || len(doomedNow(l)) != 0 {
			t.Errorf("before it is known what is wanted: %d, %v, %v", n, err, doomedNow(l))
		}
		m.ready.Set(true)
		go func() {
			time.Sleep(time.Second)
			m.bury("1")
			time.Sleep(time.Hour)
			m.bury("2")
		}()
		began := time.Now()
		if n, err := l.Collect(t.Context()); n != 1 || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Minute {
			t.Errorf("while one cannot be removed: %d, %v, after %v", n, err, time.Since(began))
		}
		time.Sleep(time.Hour - time.Minute + 20*time.Second)
		if n, err := l.Collect(t.Context()); n != 1 || err != nil {
			t.Errorf("at last: %d, %v", n, err)
		}
		if got := doomedNow(l); !slices.Equal(got, []string{"2"}) { // forgotten at the next look
			t.Errorf("doomed: %v", got)
		}
	})
}
