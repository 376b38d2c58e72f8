package runtime

import (
	"context"
	"errors"
	"hash/fnv"
	"io"
	"time"

	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/fault"
	"google.golang.org/grpc"
	"k8s.io/apimachinery/pkg/types"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// List returns a brief of every pod the runtime has something of. What does not carry the labels of a pod
// (behaviour 331) is left out. It costs two calls, unless the node has more than fits into a message.
func (c *Client) List(ctx context.Context) (map[types.UID]engine.Brief, error) {
	sandboxes, containers, err := c.listBoth(ctx, "", c.listAllContainers)
	if err != nil {
		return nil, err
	}
	return briefs(sandboxes, containers), nil
}

// listBoth lists sandboxes and containers of one pod, or of all, side by side.
func (c *Client) listBoth(
	ctx context.Context, uid types.UID, listContainers func(context.Context) ([]*cri.Container, error),
) ([]*cri.PodSandbox, []*cri.Container, error) {
	type answer struct {
		containers []*cri.Container
		err        error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer, 1)
	go func() {
		containers, err := listContainers(ctx)
		answers <- answer{containers, err}
	}()
	sandboxes, err := c.listSandboxes(ctx, uid)
	if err != nil {
		cancel()
	}
	other := <-answers
	if err == nil {
		err = other.err
	}
	return sandboxes, other.containers, err
}

func (c *Client) listSandboxes(ctx context.Context, uid types.UID) ([]*cri.PodSandbox, error) {
	const operation, what = "list_podsandbox", "list sandboxes"
	filter := &cri.PodSandboxFilter{LabelSelector: selector(uid)}
	r, err := call(ctx, c, operation, what, c.timeout, c.runtime.ListPodSandbox, &cri.ListPodSandboxRequest{Filter: filter})
	if !errors.Is(err, fault.ErrExhausted) {
		return r.GetItems(), err
	}
	if items, err := gather(ctx, c, operation, what, c.runtime.StreamPodSandboxes,
		&cri.StreamPodSandboxesRequest{Filter: filter}, (*cri.StreamPodSandboxesResponse).GetPodSandboxes); err == nil {
		return items, nil
	}
	var all []*cri.PodSandbox
	for _, state := range []cri.PodSandboxState{cri.PodSandboxState_SANDBOX_READY, cri.PodSandboxState_SANDBOX_NOTREADY} {
		part := &cri.PodSandboxFilter{LabelSelector: filter.LabelSelector, State: &cri.PodSandboxStateValue{State: state}}
		r, err := call(ctx, c, operation, what, c.timeout, c.runtime.ListPodSandbox, &cri.ListPodSandboxRequest{Filter: part})
		if err != nil {
			return nil, err
		}
		all = append(all, r.GetItems()...)
	}
	return all, nil
}

func (c *Client) listContainers(ctx context.Context, filter *cri.ContainerFilter) ([]*cri.Container, error) {
	r, err := call(ctx, c, "list_containers", "list containers", c.timeout, c.runtime.ListContainers,
		&cri.ListContainersRequest{Filter: filter})
	return r.GetContainers(), err
}

// listAllContainers falls back to a stream, or to a call per sandbox, where the list does not fit into a message.
func (c *Client) listAllContainers(ctx context.Context) ([]*cri.Container, error) {
	all, err := c.listContainers(ctx, nil)
	if !errors.Is(err, fault.ErrExhausted) {
		return all, err
	}
	if all, err := gather(ctx, c, "list_containers", "list containers", c.runtime.StreamContainers,
		&cri.StreamContainersRequest{}, (*cri.StreamContainersResponse).GetContainers); err == nil {
		return all, nil
	}
	sandboxes, err := c.listSandboxes(ctx, "")
	if err != nil {
		return nil, err
	}
	all = nil
	for _, s := range sandboxes {
		some, err := c.listContainers(ctx, &cri.ContainerFilter{PodSandboxId: s.GetId()})
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// UsedImages returns the images that containers are made from, whoever made them and whether they run or not, by ID and by
// every name the runtime gives. Images that are mounted as volumes are not told of by a list.
func (c *Client) UsedImages(ctx context.Context) ([]string, error) {
	containers, err := c.listAllContainers(ctx)
	if err != nil {
		return nil, err
	}
	var used []string
	for _, one := range containers {
		for _, name := range []string{one.GetImageId(), one.GetImageRef(), one.GetImage().GetImage(), one.GetImage().GetUserSpecifiedImage()} {
			if name != "" {
				used = append(used, name)
			}
		}
	}
	return used, nil
}

// gather reads a list that comes as a stream. All of it must come within the request timeout.
func gather[Request, Response, Item any](
	ctx context.Context, c *Client, operation, what string,
	open func(context.Context, Request, ...grpc.CallOption) (grpc.ServerStreamingClient[Response], error),
	request Request, items func(*Response) []Item,
) ([]Item, error) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var all []Item
	stream, err := open(limited, request)
	for err == nil {
		var r *Response
		if r, err = stream.Recv(); err == nil {
			all = append(all, items(r)...)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	err = explain(ctx, what, err)
	c.observe(operation, time.Since(began), err)
	return all, err
}

// briefs sums up a listing by pod. The order of the lists does not matter.
func briefs(sandboxes []*cri.PodSandbox, containers []*cri.Container) map[types.UID]engine.Brief {
	all := make(map[types.UID]engine.Brief, len(sandboxes))
	add := func(labels map[string]string, kind byte, id string, state int32) {
		who, ok := ownerOf(labels)
		if !ok || id == "" {
			return
		}
		b := all[who.uid]
		if b.Name == "" {
			b.Namespace, b.Name = who.namespace, who.name
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte{kind, byte(state)}) // a hash takes everything
		_, _ = io.WriteString(h, id)
		b.Fingerprint += h.Sum64()
		all[who.uid] = b
	}
	for _, s := range sandboxes {
		add(s.GetLabels(), 's', s.GetId(), int32(s.GetState()))
	}
	for _, c := range containers {
		add(c.GetLabels(), 'c', c.GetId(), int32(c.GetState()))
	}
	return all
}
