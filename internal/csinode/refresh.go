package csinode

import (
	"context"
	"sync"
	"time"

	storage "k8s.io/api/storage/v1"

	"github.com/bosun-project/bosun/internal/latest"
)

// shortest is the shortest period that the API knows.
const shortest = 10 * time.Second

// RefreshConfig is what a Refresh is built from.
type RefreshConfig struct {
	// Drivers are those that are registered, by name.
	Drivers func() (map[string]Driver, <-chan struct{})
	// Follow tells what the cluster knows of CSI drivers until ctx ends, at first and after each change. It is asked once a driver has
	// registered.
	Follow func(ctx context.Context, tell func([]*storage.CSIDriver, error))
	// Again asks a driver anew what it says of the node.
	Again func(ctx context.Context, name string)
}

// Refresh has drivers asked again and again how many of their volumes the node may have, as often as their CSIDriver objects say: that
// number changes where something else takes slots (behaviour 195).
type Refresh struct {
	cfg     RefreshConfig
	periods latest.Cell[map[string]time.Duration]
}

// NewRefresh builds one. Nothing is asked before Run.
func NewRefresh(cfg RefreshConfig) *Refresh { return &Refresh{cfg: cfg} }

// Run works until ctx ends. It has a goroutine that follows the drivers once there are any, and one for each driver while it is asked.
func (r *Refresh) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	following := false
	asked, busy := map[string]time.Time{}, map[string]bool{}
	answered := make(chan string)
	for {
		drivers, newer := r.cfg.Drivers()
		if len(drivers) > 0 && !following {
			following = true
			work.Go(func() { r.cfg.Follow(ctx, r.heard) })
		}
		periods, changed := r.periods.Get()
		due, wake := dueNow(drivers, periods, asked, time.Now())
		for _, name := range due {
			if busy[name] {
				continue
			}
			asked[name], busy[name] = time.Now(), true
			work.Go(func() {
				r.cfg.Again(ctx, name)
				select {
				case answered <- name:
				case <-ctx.Done():
				}
			})
		}
		var alarm <-chan time.Time
		if !wake.IsZero() {
			timer.Reset(time.Until(wake))
			alarm = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
		case <-changed:
		case <-alarm:
		case name := <-answered:
			delete(busy, name)
		}
	}
}

func (r *Refresh) heard(all []*storage.CSIDriver, err error) {
	if err != nil { // what was heard holds
		return
	}
	periods := map[string]time.Duration{}
	for _, d := range all {
		if s := d.Spec.NodeAllocatableUpdatePeriodSeconds; s != nil {
			periods[d.Name] = max(time.Duration(*s)*time.Second, shortest)
		}
	}
	r.periods.Set(periods)
}

// dueNow are the drivers to be asked now, and when to look again. A driver that is seen for the first time has said all when it registered.
func dueNow(drivers map[string]Driver, periods map[string]time.Duration, asked map[string]time.Time, now time.Time) (due []string, wake time.Time) {
	for name := range asked {
		if _, here := drivers[name]; !here {
			delete(asked, name)
		}
	}
	for name := range drivers {
		period, wanted := periods[name]
		if !wanted {
			continue
		}
		if asked[name].IsZero() {
			asked[name] = now
		}
		at := asked[name].Add(period)
		if !now.Before(at) {
			due = append(due, name)
			at = now.Add(period)
		}
		if wake.IsZero() || at.Before(wake) {
			wake = at
		}
	}
	return due, wake
}
