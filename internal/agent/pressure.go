package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/evict"
	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/nodestatus"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/pressure"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/signals"
	"github.com/bosun-project/bosun/internal/worker"
)

// buildPressure makes what ends pods when the node runs short, or when they exceed limits of their own.
func (a *Agent) buildPressure() {
	k := &a.cfg.Kubelet
	thresholds, err := evict.Parse(evict.Texts{
		Hard: k.EvictionHard, Soft: k.EvictionSoft, SoftGrace: k.EvictionSoftGracePeriod, Reclaim: k.EvictionMinimumReclaim,
	}, a.room.Enforced)
	if err != nil { // the configuration was checked before
		a.log.Error("some thresholds of evictions are not honoured", "err", err)
	}
	reader := signals.New(signals.Config{
		RootDir: a.cfg.RootDir, LogsDir: k.PodLogsDir, PIDs: a.host.PIDs, ImageFS: a.imageFileSystems, Written: a.writtenBy,
		Memory: func() string {
			if t := a.cgroups.known(); t != nil {
				return t.All("memory")
			}
			return ""
		},
		Pod: func(controller string, p *v1.Pod) string {
			if t := a.cgroups.known(); t != nil {
				return t.Dir(controller, p)
			}
			return ""
		},
	})
	a.pressure = pressure.New(pressure.Config{
		Settings: evict.Settings{
			Thresholds: thresholds, Hold: k.EvictionPressureTransitionPeriod.Duration, MostGrace: time.Duration(k.EvictionMaxPodGracePeriod) * time.Second,
		},
		Dir: a.cfg.RootDir, Boot: host.Who().BootID,
		NoLimits: !defaultOn(k.LocalStorageCapacityIsolation),
		Read:     reader.Read, Measure: reader.Measure, Pods: a.evictablePods,
		Watch: func(ctx context.Context, least func() map[evict.Signal]int64, tell func()) error {
			if !k.KernelMemcgNotification {
				least = nil
			}
			return reader.Watch(ctx, least, tell)
		},
		Containers: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, clearWait)
			defer cancel()
			_, err := a.dead.Collect(ctx)
			return err
		},
		Images: func(ctx context.Context, lacking int64) (int64, error) {
			ctx, cancel := context.WithTimeout(ctx, clearWait)
			defer cancel()
			if lacking <= 0 {
				return a.garbage.Collect(ctx)
			}
			return a.garbage.Free(ctx, lacking)
		},
		Evicted: a.metrics.Evicted, Notes: a.note, Log: a.log,
	})
}

// clearWait bounds how long clearing away may hold up what else there is to do about a shortage.
const clearWait = 30 * time.Second

// imageFileSystems asks the runtime where images are and what containers write. While it does not answer nothing is known, and
// that is told elsewhere.
func (a *Agent) imageFileSystems(ctx context.Context) (images, containers string, err error) {
	if !a.observer.Health().Value().Up {
		return "", "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	info, err := a.client.ImageFsInfo(ctx)
	if err != nil {
		return "", "", err
	}
	dir := func(all []*runtimeapi.FilesystemUsage) string {
		if len(all) == 0 {
			return ""
		}
		return all[0].GetFsId().GetMountpoint()
	}
	if images = dir(info.GetImageFilesystems()); images == "" {
		return "", "", errors.New("the runtime does not say where its images are")
	}
	return images, dir(info.GetContainerFilesystems()), nil
}

// askWait bounds how long the runtime may take to say what something takes of its disk.
const askWait = 5 * time.Second

// few containers are asked for one by one: the list of all is dear to the runtime.
const few = 4

// writtenBy asks the runtime what containers have written to file systems of their own. What it does not say is missing.
func (a *Agent) writtenBy(ctx context.Context, ids []string) map[string]evict.Disk {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	var all []*runtimeapi.ContainerStats
	if len(ids) > few {
		all, _ = a.client.ListContainerStats(ctx)
	} else {
		for _, id := range ids {
			if s, err := a.client.ContainerStats(ctx, id); err == nil {
				all = append(all, s)
			}
		}
	}
	out := map[string]evict.Disk{}
	for _, s := range all {
		w := s.GetWritableLayer()
		out[s.GetAttributes().GetId()] = evict.Disk{Bytes: int64(w.GetUsedBytes().GetValue()), Inodes: int64(w.GetInodesUsed().GetValue())}
	}
	return out
}

// evictablePods are the pods that were let in and have not gone. Those that only the runtime knows are left alone: they may be
// critical, and if nobody wants them they end anyway.
func (a *Agent) evictablePods() ([]pressure.Pod, <-chan struct{}) {
	entries, newer := a.set.Table().Pods()
	pods := make([]pressure.Pod, 0, len(entries))
	for _, e := range entries {
		if e.Desired.Source == pod.FromRuntime || e.Memory.Kept.Admitted.IsZero() {
			continue
		}
		pods = append(pods, evictable(e))
	}
	return pods, newer
}

// evictable is a pod with the resources it was given: what it is wanted with, but has not got, lets it use nothing.
func evictable(e *worker.Entry) pressure.Pod {
	p := pressure.Pod{Desired: plan.Allocated(e.Desired, e.Memory.Kept.Allocated), IDs: map[string]string{}, Gone: e.Memory.Session.Rested}
	stop := e.Memory.Kept.Stop
	evicted := stop != nil && stop.Reason == reason.Evicted && (stop.Cause == plan.Ordered || stop.Cause == plan.Overfull)
	for i := range e.Observed.Containers {
		c := &e.Observed.Containers[i]
		if c.Live() && p.IDs[c.Name] == "" { // the newest comes first
			p.IDs[c.Name] = c.ID
		}
		if evicted && c.State != pod.Gone { // what it wrote goes with its record
			p.Gone = false
		}
	}
	return p
}

// followOrders keeps the orders of all who may give some: of two for one pod the stricter one counts.
func (a *Agent) followOrders(ctx context.Context) error {
	for {
		down, turned := a.goingDown()
		short, newer := a.pressure.Orders().Get()
		a.ordered.Set(stricter(down.Orders, short))
		select {
		case <-ctx.Done():
			return nil
		case <-turned:
		case <-newer:
		}
	}
}

func stricter(a, b map[types.UID]*plan.Order) map[types.UID]*plan.Order {
	out := make(map[types.UID]*plan.Order, len(a)+len(b))
	for _, orders := range []map[types.UID]*plan.Order{a, b} {
		for uid, o := range orders {
			if have := out[uid]; have == nil || o.Grace < have.Grace {
				out[uid] = o
			}
		}
	}
	return out
}

// press puts what the node is short of into what it says of itself.
func press(f *nodestatus.Facts, short []v1.NodeConditionType) {
	f.MemoryPressure = slices.Contains(short, v1.NodeMemoryPressure)
	f.DiskPressure = slices.Contains(short, v1.NodeDiskPressure)
	f.PIDPressure = slices.Contains(short, v1.NodePIDPressure)
}

// pressureTrouble is what `bosun explain` says of a shortage, and since when there is one.
func (a *Agent) pressureTrouble() (what string, since time.Time, message string) {
	s := a.pressure.State().Value()
	var texts []string
	for _, short := range s.Short {
		text := short.String()
		if !short.Due {
			text += fmt.Sprintf("; pods go if it stays so until %s", short.Since.Add(short.Grace).Format(time.TimeOnly))
		}
		texts = append(texts, text)
	}
	if len(s.Waiting) > 0 {
		texts = append(texts, fmt.Sprintf("%d pods are going for it", len(s.Waiting)))
	}
	switch {
	case len(texts) > 0:
		return "the node is running short", s.Since, strings.Join(texts, ", ")
	case len(s.Pressure) > 0:
		return "the node was running short", s.Since, fmt.Sprintf("it has enough again, and goes on saying %v for a while", s.Pressure)
	}
	return "what the node has left", s.ProblemSince, s.Problem
}
