package stats

import (
	"github.com/bosun-project/bosun/internal/safepath"
	"github.com/bosun-project/bosun/internal/usage"
)

// Stored tells what the logs of running containers take, and how full the volumes of drivers are, and reads nothing else.
func (r *Reader) Stored() []usage.Pod {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	reading := &reading{Reader: r, depth: usage.Storage}
	all := r.cfg.Pods().Pods
	found := make([]usage.Pod, len(all))
	unknown := false
	for i := range all {
		found[i] = reading.stored(&all[i], &unknown)
	}
	if unknown {
		r.meter.wait(nil, firstWait)
		for i := range all {
			found[i].Volumes = reading.driven(&all[i], &unknown)
		}
	}
	return found
}

func (r *reading) stored(p *Pod, unknown *bool) usage.Pod {
	u := usage.Pod{Namespace: p.Namespace, Name: p.Name, UID: p.UID, Volumes: r.driven(p, unknown)}
	dir, err := safepath.Open(p.LogDir)
	if err != nil {
		return u
	}
	defer dir.Close()
	for _, c := range p.Containers {
		if used, ok := filesIn(dir, c.Name); ok {
			logs := &usage.Filesystem{At: r.now(), Used: usage.Of(used.bytes), InodesUsed: usage.Of(used.inodes)}
			u.Containers = append(u.Containers, usage.Container{Name: c.Name, ID: c.ID, Logs: logs})
		}
	}
	return u
}
