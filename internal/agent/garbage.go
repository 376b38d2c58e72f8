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

	"github.com/bosun-project/bosun/internal/cleanup"
	"github.com/bosun-project/bosun/internal/collect"
	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/image"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/worker"
)

// buildGarbage makes what removes images that nobody uses, and what says which ended containers have to go.
func (a *Agent) buildGarbage() {
	a.garbage = cleanup.NewImages(cleanup.ImagesConfig{
		Policy: imagePolicy(a.cfg, a.leaveImages, a.began),
		Ready:  a.knowsAll, Images: a.listImages, Used: a.usedImages, Disk: a.imageDisk, Remove: a.removeImage,
		Removed: a.metrics.ImageCollected, Changed: func() { a.pulled.Set(a.pulled.Value() + 1) }, // the node's object lists them
		Seen:  a.forgetPulls,
		Notes: a.note, Log: a.log, Trace: a.traced("Images/GarbageCollect"),
	})
	a.dead = cleanup.NewContainers(cleanup.ContainersConfig{
		Keep:  collect.Keep{MinAge: a.cfg.DeadContainers.MinAge, Total: a.cfg.DeadContainers.Total},
		Ready: a.knowsAll,
		Dead: func() ([]collect.Dead, <-chan struct{}) {
			entries, newer := a.set.Table().Pods()
			return deadOf(entries), newer
		},
		Failed: func(since time.Time) error {
			entries, _ := a.set.Table().Pods()
			return notRemoved(entries, since)
		},
		Notes: a.note, Log: a.log, Trace: a.traced("Containers/GarbageCollect"),
	})
}

// imagePolicy is what the configuration says of images. On a machine that somebody shares with other users of the runtime (bosun
// up) none go, unless the configuration says when.
func imagePolicy(c *config.Config, leave bool, began time.Time) collect.Policy {
	k := &c.Kubelet
	if leave {
		return collect.Policy{High: 100, Began: began}
	}
	return collect.Policy{
		MinAge: k.ImageMinimumGCAge.Duration, MaxAge: k.ImageMaximumGCAge.Duration,
		High: int(*k.ImageGCHighThresholdPercent), Low: int(*k.ImageGCLowThresholdPercent), // both have defaults
		Began: began,
	}
}

// leavesImages tells whether the images on the node may be somebody else's.
func leavesImages(c *config.Config, strays bool) bool {
	return strays && !c.IsSet("imageGCHighThresholdPercent") && !c.IsSet("imageMaximumGCAge")
}

// keepDead is how many ended instances of each container the configuration lets stay.
func keepDead(c *config.Config) *plan.Keep {
	return &plan.Keep{Dead: c.DeadContainers.PerContainer, MinAge: c.DeadContainers.MinAge}
}

func (a *Agent) doomed() (map[types.UID]map[string]bool, <-chan struct{}) { return a.dead.Doomed() }

// knowsAll tells whether every source has spoken and everything the runtime has was listed: before, nobody knows what is
// garbage (behaviour 6).
func (a *Agent) knowsAll() (bool, <-chan struct{}) {
	wanted, newerWanted := a.wanted.Get()
	if !wanted.Ready {
		return false, newerWanted
	}
	node, newerNode := a.facts.Get()
	return node.RuntimeUp && !node.Relisted.IsZero(), newerNode
}

func (a *Agent) listImages(ctx context.Context) ([]collect.Image, error) {
	listed, err := a.client.ListImages(ctx)
	images := make([]collect.Image, 0, len(listed))
	for _, i := range listed {
		images = append(images, collect.Image{ID: i.Id, Names: slices.Concat(i.RepoTags, i.RepoDigests), Size: int64(i.Size), Pinned: i.Pinned || a.leaveImages})
	}
	return images, err
}

// usedImages are those that pods need or will, and those that containers are made from. The pods are asked first: what
// they say to be on its way may be a container by the time these are listed, but not the other way round.
func (a *Agent) usedImages(ctx context.Context) (collect.Used, error) {
	entries, _ := a.set.Table().Pods()
	used := imagesOf(a.wanted.Value().Pods, entries)
	names, err := a.client.UsedImages(ctx)
	for _, name := range names {
		used[name] = true
	}
	return used, err
}

// imagesOf are the images that pods need: what running pods name or have resolved, and what is mounted into containers.
func imagesOf(wanted map[types.UID]*pod.Desired, entries []*worker.Entry) collect.Used {
	used := collect.Used{}
	ending := map[types.UID]bool{}
	for _, e := range entries {
		for _, images := range []map[string]plan.ResolvedImage{e.Memory.Session.Images, e.Memory.Session.VolumeImages} {
			for _, i := range images {
				used[i.ID] = true
			}
		}
		for i := range e.Observed.Containers {
			if c := &e.Observed.Containers[i]; c.State != pod.Gone {
				for _, name := range c.Mounted {
					used[name] = true
				}
			}
		}
		if e.Memory.Stage >= plan.Stopping {
			ending[e.Desired.UID()] = true
			continue
		}
		nameImages(used, e.Desired.Pod)
	}
	for uid, d := range wanted {
		if !ending[uid] && !d.Over {
			nameImages(used, d.Pod)
		}
	}
	return used
}

func nameImages(used collect.Used, p *v1.Pod) {
	add := func(called string) {
		for _, name := range image.Names(called) {
			used[name] = true
		}
	}
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			add(list[i].Image)
		}
	}
	for i := range p.Spec.EphemeralContainers {
		add(p.Spec.EphemeralContainers[i].Image)
	}
	for i := range p.Spec.Volumes {
		if v := p.Spec.Volumes[i].Image; v != nil {
			add(v.Reference)
		}
	}
}

// imageDisk is the file system that the runtime says its images are on. One that cannot tell has none.
func (a *Agent) imageDisk(ctx context.Context) (collect.Disk, error) {
	info, err := a.client.ImageFsInfo(ctx)
	if err != nil {
		return collect.Disk{}, err
	}
	dir := ""
	if all := info.GetImageFilesystems(); len(all) > 0 { // the first is the one that counts
		dir = all[0].GetFsId().GetMountpoint()
	}
	if dir == "" {
		return collect.Disk{}, nil
	}
	capacity, available, err := host.Space(dir)
	return collect.Disk{Capacity: capacity, Available: available}, err
}

func (a *Agent) removeImage(ctx context.Context, i collect.Image, looked time.Time) (bool, error) {
	return a.holds.Remove(ctx, i.ID, i.Names, looked, func(ctx context.Context) error {
		return a.client.RemoveImage(ctx, &runtimeapi.ImageSpec{Image: i.ID})
	})
}

// deadOf are the ended containers of pods. A pod that goes on needs the last instance of each of its containers; one that is
// ending removes them itself.
func deadOf(entries []*worker.Entry) []collect.Dead {
	var dead []collect.Dead
	for _, e := range entries {
		for i := range e.Observed.Containers {
			c := &e.Observed.Containers[i]
			if c.State != pod.Exited {
				continue
			}
			latest := e.Observed.Latest(c.Name)
			dead = append(dead, collect.Dead{
				Pod: e.Desired.UID(), Name: c.Name, ID: c.ID, Ended: c.FinishedAt,
				Needed: !e.Memory.Session.Rested && (e.Memory.Stage >= plan.Stopping || latest != nil && latest.ID == c.ID),
			})
		}
	}
	return dead
}

// notRemoved says which ended containers and sandboxes could not be removed since a time.
func notRemoved(entries []*worker.Entry, since time.Time) error {
	var wrong []error
	for _, e := range entries {
		for subject, f := range e.Memory.Kept.Failures {
			removal := strings.HasPrefix(subject, plan.RemoveContainer.String()) || strings.HasPrefix(subject, plan.RemoveSandbox.String())
			if removal && f.Class != plan.Soon && !f.At.Before(since) {
				wrong = append(wrong, fmt.Errorf("%s of pod %s/%s: %s", subject, e.Desired.Pod.Namespace, e.Desired.Pod.Name, f.Message))
			}
		}
	}
	slices.SortFunc(wrong, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(wrong...)
}
