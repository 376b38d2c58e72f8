package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/pod"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// statusesAtOnce bounds the status calls of one inspection: a pod may have hundreds of ended containers.
const statusesAtOnce = 16

// Inspect returns everything the runtime has of one pod. Nothing at all is a good answer: a complete report without
// sandboxes. What goes away while it is being inspected counts as gone.
func (c *Client) Inspect(ctx context.Context, uid types.UID) (pod.Report, error) {
	if uid == "" {
		return pod.Report{}, fault.As(fault.ErrInvalid, errors.New("inspect a pod: no UID was given"))
	}
	began := time.Now()
	sandboxes, containers, err := c.listBoth(ctx, uid, func(ctx context.Context) ([]*cri.Container, error) {
		return c.listContainers(ctx, &cri.ContainerFilter{LabelSelector: selector(uid)})
	})
	if err != nil {
		return pod.Report{}, fmt.Errorf("inspect pod %s: %w", uid, err)
	}
	r := pod.Report{Complete: true, Began: began}
	ownLabels := func(labels map[string]string) bool {
		who, ok := ownerOf(labels)
		if ok && who.uid == uid {
			r.Namespace, r.Name = who.namespace, who.name
		}
		return ok && who.uid == uid
	}
	sandboxes = slices.DeleteFunc(sandboxes, func(s *cri.PodSandbox) bool { return s.GetId() == "" || !ownLabels(s.GetLabels()) })
	containers = slices.DeleteFunc(containers, func(c *cri.Container) bool { return c.GetId() == "" || !ownLabels(c.GetLabels()) })
	if r.Sandboxes, r.Containers, err = c.statuses(ctx, sandboxes, containers, began); err != nil {
		return pod.Report{}, fmt.Errorf("inspect pod %s/%s: %w", r.Namespace, r.Name, err)
	}
	return r, nil
}

// statuses asks side by side for what the lists do not tell, and leaves out what is gone meanwhile.
func (c *Client) statuses(
	ctx context.Context, sandboxes []*cri.PodSandbox, containers []*cri.Container, began time.Time,
) ([]pod.Sandbox, []pod.Container, error) {
	asks, ctx := errgroup.WithContext(ctx)
	asks.SetLimit(statusesAtOnce)
	foundSandboxes := make([]pod.Sandbox, len(sandboxes))
	newest := newestSandbox(sandboxes)
	for i, s := range sandboxes {
		if s.GetState() != cri.PodSandboxState_SANDBOX_READY && s != newest {
			foundSandboxes[i] = listedSandbox(s, began) // nobody needs the address it once had
			continue
		}
		asks.Go(func() (err error) {
			foundSandboxes[i], err = c.sandboxStatus(ctx, s, began)
			return err
		})
	}
	foundContainers := make([]pod.Container, len(containers))
	for i, listed := range containers {
		asks.Go(func() (err error) {
			foundContainers[i], err = c.containerStatus(ctx, listed, began)
			return err
		})
	}
	err := asks.Wait()
	return slices.DeleteFunc(foundSandboxes, func(s pod.Sandbox) bool { return s.ID == "" }),
		slices.DeleteFunc(foundContainers, func(c pod.Container) bool { return c.ID == "" }), err
}

func newestSandbox(all []*cri.PodSandbox) *cri.PodSandbox {
	if len(all) == 0 {
		return nil
	}
	return slices.MaxFunc(all, func(a, b *cri.PodSandbox) int {
		return cmp.Or(cmp.Compare(a.GetMetadata().GetAttempt(), b.GetMetadata().GetAttempt()),
			cmp.Compare(a.GetCreatedAt(), b.GetCreatedAt()))
	})
}

// sandboxStatus returns the zero Sandbox for one that is gone.
func (c *Client) sandboxStatus(ctx context.Context, listed *cri.PodSandbox, began time.Time) (pod.Sandbox, error) {
	r, err := call(ctx, c, "podsandbox_status", "ask for status of sandbox "+short(listed.GetId()), c.timeout,
		c.runtime.PodSandboxStatus, &cri.PodSandboxStatusRequest{PodSandboxId: listed.GetId()})
	switch {
	case errors.Is(err, fault.ErrNotFound):
		return pod.Sandbox{}, nil
	case err != nil:
		return pod.Sandbox{}, err
	case r.GetStatus().GetId() == "":
		return listedSandbox(listed, began), nil
	}
	return fullSandbox(r.GetStatus(), began), nil
}

// Ended tells whether a container runs no more, or is gone.
func (c *Client) Ended(ctx context.Context, id string) (bool, error) {
	r, err := call(ctx, c, "container_status", "ask for status of container "+short(id), c.timeout,
		c.runtime.ContainerStatus, &cri.ContainerStatusRequest{ContainerId: id})
	if errors.Is(err, fault.ErrNotFound) {
		return true, nil
	}
	return r.GetStatus().GetState() == cri.ContainerState_CONTAINER_EXITED, err
}

// containerStatus returns the zero Container for one that is gone.
func (c *Client) containerStatus(ctx context.Context, listed *cri.Container, began time.Time) (pod.Container, error) {
	r, err := call(ctx, c, "container_status", "ask for status of container "+short(listed.GetId()), c.timeout,
		c.runtime.ContainerStatus, &cri.ContainerStatusRequest{ContainerId: listed.GetId()})
	switch {
	case errors.Is(err, fault.ErrNotFound):
		return pod.Container{}, nil
	case err != nil:
		return pod.Container{}, err
	case r.GetStatus().GetId() == "":
		return listedContainer(listed, began), nil
	}
	return fullContainer(r.GetStatus(), listed.GetPodSandboxId(), began), nil
}
