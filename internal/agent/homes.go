package agent

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/bosun-project/bosun/internal/cgroup"
)

// homesEvery is how often is looked whether processes are where they should be (behaviour 215).
const homesEvery = time.Minute

// buildHomes moves this process, and those in no cgroup, where the configuration wants them.
func (a *Agent) buildHomes() error {
	k := &a.cfg.Kubelet
	if path := k.KubeletCgroups; path != "" {
		own, err := cgroup.NewHome(path)
		if err == nil {
			_, err = own.Take(os.Getpid())
		}
		if err != nil {
			return fmt.Errorf("kubeletCgroups: %w", err)
		}
		a.homes = append(a.homes, func() error {
			moved, err := own.Take(os.Getpid())
			if moved {
				a.log.Warn("this process had been moved, and is back in its cgroup", "kubeletCgroups", path)
			}
			return err
		})
	}
	if path := k.SystemCgroups; path != "" {
		others, err := cgroup.NewHome(path)
		if err != nil {
			return fmt.Errorf("systemCgroups: %w", err)
		}
		a.homes = append(a.homes, func() error {
			moved, err := others.TakeStrays()
			if moved > 0 {
				a.log.Info("moved processes that were in no cgroup", "systemCgroups", path, "moved", moved)
			}
			return err
		})
	}
	return nil
}

// keepHomes looks now and then whether processes are where they should be. A failure is told once.
func (a *Agent) keepHomes(ctx context.Context) error {
	tick := time.NewTicker(homesEvery)
	defer tick.Stop()
	told := map[int]string{}
	for {
		for i, look := range a.homes {
			text := ""
			if err := look(); err != nil {
				text = err.Error()
			}
			if text != "" && text != told[i] {
				a.log.Warn("a process is not in the cgroup that the configuration names for it", "err", text)
			}
			told[i] = text
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
