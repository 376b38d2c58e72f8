package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/pod"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// RunPodSandbox makes a sandbox and starts it; it returns the sandbox's ID. handler is empty for the default one.
func (c *Client) RunPodSandbox(ctx context.Context, config *cri.PodSandboxConfig, handler string) (string, error) {
	m := config.GetMetadata()
	what := "run sandbox of pod " + m.GetNamespace() + "/" + m.GetName()
	r, err := call(ctx, c, "run_podsandbox", what, 2*c.timeout, c.runtime.RunPodSandbox,
		&cri.RunPodSandboxRequest{Config: config, RuntimeHandler: handler})
	if err == nil && r.GetPodSandboxId() == "" {
		err = missing(what, "an ID")
	}
	return r.GetPodSandboxId(), err
}

// StopPodSandbox stops everything in a sandbox and frees its network. A sandbox that is stopped or gone is no error.
func (c *Client) StopPodSandbox(ctx context.Context, id string) error {
	_, err := call(ctx, c, "stop_podsandbox", "stop sandbox "+short(id), c.timeout, c.runtime.StopPodSandbox,
		&cri.StopPodSandboxRequest{PodSandboxId: id})
	return err
}

// RemovePodSandbox removes a sandbox and everything in it. A sandbox that is gone is no error.
func (c *Client) RemovePodSandbox(ctx context.Context, id string) error {
	_, err := call(ctx, c, "remove_podsandbox", "remove sandbox "+short(id), c.timeout, c.runtime.RemovePodSandbox,
		&cri.RemovePodSandboxRequest{PodSandboxId: id})
	return err
}

// UpdatePodSandboxResources tells the runtime what the pod as a whole may use now (behaviour 226).
func (c *Client) UpdatePodSandboxResources(ctx context.Context, id string, overhead, resources *cri.LinuxContainerResources) error {
	_, err := call(ctx, c, "update_podsandbox_resources", "update resources of sandbox "+short(id), c.timeout,
		c.runtime.UpdatePodSandboxResources,
		&cri.UpdatePodSandboxResourcesRequest{PodSandboxId: id, Overhead: overhead, Resources: resources})
	return err
}

// PortForward asks for the URL of a stream to ports of a sandbox.
func (c *Client) PortForward(ctx context.Context, id string, ports []int32) (string, error) {
	what := "forward ports of sandbox " + short(id)
	r, err := call(ctx, c, "port_forward", what, c.timeout, c.runtime.PortForward,
		&cri.PortForwardRequest{PodSandboxId: id, Port: ports})
	return streamURL(what, r.GetUrl(), err)
}

func streamURL(what, url string, err error) (string, error) {
	if err == nil && url == "" {
		err = missing(what, "a URL")
	}
	return url, err
}

// Sandbox inspects one sandbox: its state and its addresses.
func (c *Client) Sandbox(ctx context.Context, id string) (pod.Sandbox, error) {
	what := "inspect sandbox " + short(id)
	began := time.Now()
	s, err := c.sandboxStatus(ctx, &cri.PodSandbox{Id: id}, began)
	if err == nil && s.ID == "" {
		err = fault.As(fault.ErrNotFound, errors.New(what+": it is gone"))
	}
	return s, err
}
