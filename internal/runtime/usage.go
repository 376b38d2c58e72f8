package runtime

import (
	"context"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// ListPodSandboxStats returns what each sandbox uses.
func (c *Client) ListPodSandboxStats(ctx context.Context) ([]*cri.PodSandboxStats, error) {
	r, err := call(ctx, c, "list_podsandbox_stats", "list stats of sandboxes", c.timeout, c.runtime.ListPodSandboxStats,
		&cri.ListPodSandboxStatsRequest{})
	return r.GetStats(), err
}

// ListContainerStats returns what each running container uses.
func (c *Client) ListContainerStats(ctx context.Context) ([]*cri.ContainerStats, error) {
	r, err := call(ctx, c, "list_container_stats", "list stats of containers", c.timeout, c.runtime.ListContainerStats,
		&cri.ListContainerStatsRequest{})
	return r.GetStats(), err
}

// ContainerStats returns what one container uses.
func (c *Client) ContainerStats(ctx context.Context, id string) (*cri.ContainerStats, error) {
	const operation = "container_stats"
	r, err := call(ctx, c, operation, "read stats of container "+short(id), c.timeout, c.runtime.ContainerStats,
		&cri.ContainerStatsRequest{ContainerId: id})
	return r.GetStats(), err
}
