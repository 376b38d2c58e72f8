package runtime

import (
	"context"
	"fmt"
	"strings"

	"github.com/bosun-project/bosun/internal/engine"
	"github.com/bosun-project/bosun/internal/fault"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Version asks the runtime who it is. One that does not speak CRI v1 is an error of class fault.ErrUnsupported.
func (c *Client) Version(ctx context.Context) (engine.Version, error) {
	const what = "ask the container runtime for its version"
	r, err := call(ctx, c, "version", what, c.timeout, c.runtime.Version, &cri.VersionRequest{Version: "0.1.0"})
	if err != nil {
		return engine.Version{}, err
	}
	v := engine.Version{Name: r.GetRuntimeName(), Version: r.GetRuntimeVersion(), API: r.GetRuntimeApiVersion()}
	if v.API != "v1" && !strings.HasPrefix(v.API, "v1.") {
		return v, fault.As(fault.ErrUnsupported, fmt.Errorf("%s: %s %s speaks CRI %q; want v1", what, v.Name, v.Version, v.API))
	}
	return v, nil
}

// Status asks the runtime how it fares and what it can do. A condition it does not tell of is not OK.
func (c *Client) Status(ctx context.Context) (engine.Status, error) {
	r, err := call(ctx, c, "status", "ask the container runtime for its status", c.timeout, c.runtime.Status, &cri.StatusRequest{})
	if err != nil {
		return engine.Status{}, err
	}
	return statusOf(r), nil
}

// CgroupDriver is the way a runtime makes cgroups.
type CgroupDriver string

// The cgroup drivers, spelled as in the kubelet's configuration.
const (
	Systemd  CgroupDriver = "systemd"
	Cgroupfs CgroupDriver = "cgroupfs"
)

// RuntimeConfig asks the runtime which cgroup driver to use; empty if it does not care. A runtime that does not know
// the question fails with fault.ErrUnsupported: the agent's own setting holds then.
func (c *Client) RuntimeConfig(ctx context.Context) (CgroupDriver, error) {
	r, err := call(ctx, c, "runtime_config", "ask the container runtime for its configuration", c.timeout,
		c.runtime.RuntimeConfig, &cri.RuntimeConfigRequest{})
	return cgroupDriverOf(r), err
}

func cgroupDriverOf(r *cri.RuntimeConfigResponse) CgroupDriver {
	if r.GetLinux() == nil {
		return ""
	}
	switch r.GetLinux().GetCgroupDriver() {
	case cri.CgroupDriver_SYSTEMD:
		return Systemd
	case cri.CgroupDriver_CGROUPFS:
		return Cgroupfs
	}
	return ""
}

// UpdateRuntimeConfig tells the runtime the node's range of pod addresses (behaviour 334).
func (c *Client) UpdateRuntimeConfig(ctx context.Context, podCIDR string) error {
	_, err := call(ctx, c, "update_runtime_config", "tell the container runtime the pod CIDR "+podCIDR, c.timeout,
		c.runtime.UpdateRuntimeConfig, &cri.UpdateRuntimeConfigRequest{
			RuntimeConfig: &cri.RuntimeConfig{NetworkConfig: &cri.NetworkConfig{PodCidr: podCIDR}},
		})
	return err
}
