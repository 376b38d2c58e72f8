package csinode

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	storage "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/latest"
)

// asking is a node with drivers that notes when they are asked.
type asking struct {
	began   time.Time
	drivers latest.Cell[map[string]Driver]
	objects latest.Cell[[]*storage.CSIDriver]
	hangs   string

	mu      sync.Mutex
	asked   []string
	follows int
}

func (a *asking) follow(ctx context.Context, tell func([]*storage.CSIDriver, error)) {
	a.mu.Lock()
	a.follows++
	a.mu.Unlock()
	tell(nil, fmt.Errorf("away"))
	for {
		all, newer := a.objects.Get()
		tell(all, nil)
		select {
		case <-ctx.Done():
			return
		case <-newer:
		}
	}
}

func (a *asking) again(ctx context.Context, name string) {
	a.mu.Lock()
	a.asked = append(a.asked, fmt.Sprint(name, " ", time.Since(a.began)))
	a.mu.Unlock()
	if name == a.hangs {
		<-ctx.Done()
	}
}

func (a *asking) said() []string {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

func object(name string, seconds int64) *storage.CSIDriver {
	d := &storage.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if seconds > 0 {
		d.Spec.NodeAllocatableUpdatePeriodSeconds = &seconds
	}
	return d
}

// Behaviour 195.
func TestCountsAreAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asking{began: time.Now(), hangs: "stuck"}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- NewRefresh(RefreshConfig{Drivers: a.drivers.Get, Follow: a.follow, Again: a.again}).Run(ctx)
		}()
		time.Sleep(time.Hour)
		if a.said(); a.follows > 0 {
			t.Error("the cluster is asked although the node has no driver")
		}
		a.began = time.Now()
		a.objects.Set([]*storage.CSIDriver{object("often", 3), object("seldom", 60), object("never", 0), object("elsewhere", 10), object("stuck", 15)})
		a.drivers.Set(map[string]Driver{"often": {}, "seldom": {}, "never": {}, "stuck": {}})
		time.Sleep(61 * time.Second)
		want := []string{"often 10s", "stuck 15s", "often 20s", "often 30s", "often 40s", "often 50s", "often 1m0s", "seldom 1m0s"}
		got := a.said()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("asked %q\nwant  %q", got, want)
		}
		a.objects.Set([]*storage.CSIDriver{object("often", 0), object("seldom", 0)})
		time.Sleep(time.Hour)
		if got := a.said(); len(got) != len(want) || a.follows != 1 {
			t.Errorf("asked %q afterwards, followed %d times", got[len(want):], a.follows)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
