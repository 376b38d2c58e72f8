package stats

import (
	"context"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/usage"
)

// Runtime is asked what only it knows: what containers wrote into their own file systems, and where images are.
type Runtime interface {
	ListContainerStats(ctx context.Context) ([]*cri.ContainerStats, error)
	ImageFsInfo(ctx context.Context) (*cri.ImageFsInfoResponse, error)
}

const (
	// layersAge is how old an answer of the runtime may be. It is dear to the runtime, which itself looks at its file
	// systems every ten seconds only.
	layersAge = 30 * time.Second
	// layersKept is how long an answer is used when there is no newer one.
	layersKept = 5 * time.Minute
	// layersWait bounds how long the runtime may take to answer.
	layersWait = 2 * time.Second
)

// layers is what the runtime said last.
type layers struct {
	asked, at time.Time
	// containers are by ID.
	containers     map[string]layer
	images, writes *usage.Filesystem
}

// layer is what the runtime knows of a container.
type layer struct {
	at            time.Time
	bytes, inodes usage.Number
	nanoCores     usage.Number
}

// refresh asks the runtime if it was not asked lately.
func (l *layers) refresh(ctx context.Context, runtime Runtime, r *reading) {
	now := r.now()
	if runtime == nil || !l.asked.IsZero() && now.Sub(l.asked) < layersAge {
		return
	}
	l.asked = now
	ctx, cancel := context.WithTimeout(ctx, layersWait)
	defer cancel()
	stats, err := runtime.ListContainerStats(ctx)
	var info *cri.ImageFsInfoResponse
	if err == nil {
		info, err = runtime.ImageFsInfo(ctx)
	}
	if err != nil {
		r.files.missed++
		if now.Sub(l.at) > layersKept {
			*l = layers{asked: l.asked}
		}
		return
	}
	*l = layers{asked: now, at: now, containers: make(map[string]layer, len(stats))}
	for _, s := range stats {
		l.containers[s.GetAttributes().GetId()] = layerOf(s)
	}
	images := info.GetImageFilesystems()
	writes := info.GetContainerFilesystems()
	if len(writes) == 0 {
		writes = images
	}
	l.images, l.writes = r.usedOf(images), r.usedOf(writes)
	if l.writes != nil && len(info.GetContainerFilesystems()) == 0 { // what images take is not what containers wrote
		l.writes.Used, l.writes.InodesUsed = usage.Number{}, usage.Number{}
		for _, c := range l.containers {
			l.writes.Used, l.writes.InodesUsed = l.writes.Used.Plus(c.bytes), l.writes.InodesUsed.Plus(c.inodes)
		}
	}
}

func layerOf(s *cri.ContainerStats) layer {
	w := s.GetWritableLayer()
	var l layer
	if w.GetTimestamp() > 0 {
		l.at = time.Unix(0, w.GetTimestamp())
	}
	l.bytes, l.inodes = value(w.GetUsedBytes()), value(w.GetInodesUsed())
	l.nanoCores = value(s.GetCpu().GetUsageNanoCores())
	return l
}

func value(v *cri.UInt64Value) usage.Number {
	if v == nil {
		return usage.Number{}
	}
	return usage.Of(v.GetValue())
}

// usedOf is how full the file system is that the runtime speaks of, and what the runtime says it takes of it.
func (r *reading) usedOf(all []*cri.FilesystemUsage) *usage.Filesystem {
	if len(all) == 0 {
		return nil
	}
	dir := all[0].GetFsId().GetMountpoint()
	f := r.statfs(dir)
	if f == nil {
		return nil
	}
	f.Used, f.InodesUsed = value(all[0].GetUsedBytes()), value(all[0].GetInodesUsed())
	f.Device = r.deviceOf(dir)
	return f
}
