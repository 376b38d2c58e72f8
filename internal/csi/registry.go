package csi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/latest"
)

// Registry is the drivers that have registered on this node. Its methods may be used by several goroutines.
type Registry struct {
	// Observe is told of each call to a driver when it is over, with gRPC's word for how it ended; nil is fine. It is set before first use.
	Observe func(driver, method, code string, took time.Duration)
	timeout time.Duration

	mu      sync.Mutex
	drivers latest.Cell[map[string]*Driver]
}

// NewRegistry builds an empty one. timeout limits each call to a driver; 0 means 2 minutes.
func NewRegistry(timeout time.Duration) *Registry {
	if timeout <= 0 {
		timeout = 2 * time.Minute
	}
	return &Registry{timeout: timeout}
}

// Drivers are those that are registered now, by name, with a channel that is closed when that changes. Nobody may change the map.
func (r *Registry) Drivers() (map[string]*Driver, <-chan struct{}) { return r.drivers.Get() }

// Driver finds a driver. The error is fault.ErrNotFound if it has not registered.
func (r *Registry) Driver(name string) (*Driver, error) {
	if d := r.drivers.Value()[name]; d != nil {
		return d, nil
	}
	return nil, fault.As(fault.ErrNotFound, fmt.Errorf("driver name %s not found in the list of registered CSI drivers", name))
}

// Validate tells whether a driver of this name that speaks these versions can be used.
func (r *Registry) Validate(name string, versions []string) error {
	if wrong := validation.IsDNS1123Subdomain(strings.ToLower(name)); len(name) > 63 || len(wrong) > 0 {
		return fmt.Errorf("the name %q of a CSI driver must be a domain name of at most 63 characters", name)
	}
	for _, v := range versions {
		if strings.HasPrefix(strings.TrimPrefix(v, "v"), "1.") {
			return nil
		}
	}
	return fmt.Errorf("CSI driver %s speaks the versions [%s]; what works is 1.x", name, strings.Join(versions, ", "))
}

// Register asks a driver at a socket who it is, and takes it in, in place of an earlier one of its name. All versions are spoken alike.
func (r *Registry) Register(ctx context.Context, name, socket string, _ []string) error {
	d, err := connect(name, socket, r.timeout, r.Observe)
	if err != nil {
		return fmt.Errorf("register CSI driver %s: %w", name, err)
	}
	if err := d.introduce(ctx); err != nil {
		return errors.Join(fmt.Errorf("register CSI driver %s: %w", name, err), d.conn.Close())
	}
	return r.put(name, d)
}

// Refresh asks a driver anew how many volumes it may have here, and what else it says of the node. What it does not answer stays as it was.
func (r *Registry) Refresh(ctx context.Context, name string) {
	old := r.drivers.Value()[name]
	if old == nil {
		return
	}
	fresh := *old
	if fresh.inform(ctx) != nil || fresh.MostVolumes == old.MostVolumes && fresh.NodeID == old.NodeID && maps.Equal(fresh.Topology, old.Topology) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := maps.Clone(r.drivers.Value())
	if all[name] == old { // not registered anew meanwhile
		all[name] = &fresh
		r.drivers.Set(all)
	}
}

// Deregister forgets the driver of this name, if it is the one at that socket. Its volumes stay as they are.
func (r *Registry) Deregister(name, socket string) error {
	if d := r.drivers.Value()[name]; d == nil || d.socket != socket {
		return nil
	}
	return r.put(name, nil)
}

// put replaces a driver; nil takes it away.
func (r *Registry) put(name string, d *Driver) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := maps.Clone(r.drivers.Value())
	if all == nil {
		all = map[string]*Driver{}
	}
	old := all[name]
	if d == nil {
		delete(all, name)
	} else {
		all[name] = d
	}
	r.drivers.Set(all)
	if old == nil {
		return nil
	}
	return old.conn.Close() // calls in flight fail, and are made again to the new one
}

// Close ends all connections.
func (r *Registry) Close() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(r.drivers.Value())) {
		errs = append(errs, r.put(name, nil))
	}
	return errors.Join(errs...)
}

// introduce asks who the driver is and what it can do.
func (d *Driver) introduce(ctx context.Context) error {
	if err := d.inform(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	answer, err := d.node.NodeGetCapabilities(ctx, &pb.NodeGetCapabilitiesRequest{})
	if err != nil {
		return d.explain("NodeGetCapabilities", err, nil)
	}
	for _, c := range answer.GetCapabilities() {
		switch c.GetRpc().GetType() {
		case pb.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME:
			d.Can.Stage = true
		case pb.NodeServiceCapability_RPC_EXPAND_VOLUME:
			d.Can.Expand = true
		case pb.NodeServiceCapability_RPC_GET_VOLUME_STATS:
			d.Can.Stats = true
		case pb.NodeServiceCapability_RPC_VOLUME_MOUNT_GROUP:
			d.Can.MountGroup = true
		case pb.NodeServiceCapability_RPC_SINGLE_NODE_MULTI_WRITER:
			d.Can.SingleNodeMultiWriter = true
		case pb.NodeServiceCapability_RPC_UNKNOWN:
		}
	}
	return nil
}

// inform asks for what the cluster must know of the driver here.
func (d *Driver) inform(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	answer, err := d.node.NodeGetInfo(ctx, &pb.NodeGetInfoRequest{})
	if err != nil {
		return d.explain("NodeGetInfo", err, nil)
	}
	if answer.GetNodeId() == "" {
		return errors.New("NodeGetInfo: the driver has given no node_id")
	}
	d.NodeID, d.MostVolumes, d.Topology = answer.GetNodeId(), answer.GetMaxVolumesPerNode(), answer.GetAccessibleTopology().GetSegments()
	return nil
}
