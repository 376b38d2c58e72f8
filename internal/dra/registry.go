package dra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/connectivity"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/latest"
)

// RegistryConfig is what a Registry is built from.
type RegistryConfig struct {
	// Timeout limits each call to a driver; 0 means 45 s.
	Timeout time.Duration
	// Observe is told of each call that has ended; nil for nobody. It must not block.
	Observe func(Call)
	// Health has the drivers asked how their devices fare.
	Health bool
}

// Registry is the drivers that have registered on this node. Its methods may be used by several goroutines. It implements the handler
// of plugins of the type DRAPlugin.
type Registry struct {
	cfg RegistryConfig

	mu sync.Mutex
	// instances are those of each driver, the newest last.
	instances map[string][]*driver
	down      map[*driver]bool
	all       latest.Cell[[]*driver]
	drivers   latest.Cell[map[string]bool]
	fares     map[string]map[device]Fare
	health    latest.Cell[map[string]map[device]Fare]
}

// NewRegistry builds an empty one. Nothing is watched before Run.
func NewRegistry(cfg RegistryConfig) *Registry {
	cfg.Timeout = cmp.Or(cfg.Timeout, 45*time.Second)
	if cfg.Observe == nil {
		cfg.Observe = func(Call) {}
	}
	return &Registry{cfg: cfg, instances: map[string][]*driver{}, down: map[*driver]bool{}, fares: map[string]map[device]Fare{}}
}

// Drivers are those that are registered, by name, with whether they can be reached, and a channel that is closed when that changes.
// Nobody may change the map.
func (r *Registry) Drivers() (map[string]bool, <-chan struct{}) { return r.drivers.Get() }

// Validate tells whether a driver of this name that speaks these versions can be used.
func (r *Registry) Validate(name string, versions []string) error {
	if wrong := validation.IsDNS1123Subdomain(name); len(name) > 63 || len(wrong) > 0 {
		return fmt.Errorf("the name %q of a DRA driver must be a domain name of at most 63 characters in lower case", name)
	}
	if spoken(services, versions) == "" {
		return fmt.Errorf("DRA driver %s speaks the versions [%s]; what works is v1.DRAPlugin or v1beta1.DRAPlugin", name, strings.Join(versions, ", "))
	}
	return nil
}

// spoken is the best service that is among the versions; empty if none is.
func spoken(from []struct{ says, name string }, versions []string) string {
	for _, s := range from {
		if slices.Contains(versions, s.says) {
			return s.name
		}
	}
	return ""
}

// Register takes in a driver at a socket, beside others of its name at other sockets. The newest one that can be reached is used.
func (r *Registry) Register(_ context.Context, name, socket string, versions []string) error {
	conn, err := dial(socket)
	if err != nil {
		return fmt.Errorf("register DRA driver %s: %w", name, err)
	}
	d := &driver{
		name: name, socket: socket, service: spoken(services, versions), health: spoken(healthServices, versions),
		timeout: r.cfg.Timeout, conn: conn, observe: r.cfg.Observe,
	}
	return errors.Join(r.remove(name, socket, d))
}

// Deregister forgets the driver of this name at that socket. What it has prepared stays.
func (r *Registry) Deregister(name, socket string) error { return r.remove(name, socket, nil) }

// remove takes away the instance at a socket, and puts another one in its place if there is one.
func (r *Registry) remove(name, socket string, replace *driver) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	kept := slices.DeleteFunc(slices.Clone(r.instances[name]), func(d *driver) bool {
		if d.socket != socket {
			return false
		}
		delete(r.down, d)
		errs = append(errs, d.conn.Close()) // calls in flight fail, and are made again to another one
		return true
	})
	if replace != nil {
		kept = append(kept, replace)
	}
	r.instances[name] = kept
	if len(kept) == 0 {
		delete(r.instances, name)
		r.forgetHealth(name)
	}
	r.publish(true)
	return errors.Join(errs...)
}

// publish tells which drivers there are. The lock is held.
func (r *Registry) publish(instances bool) {
	names := make(map[string]bool, len(r.instances))
	var all []*driver
	for _, name := range slices.Sorted(maps.Keys(r.instances)) {
		names[name] = slices.ContainsFunc(r.instances[name], func(d *driver) bool { return !r.down[d] })
		all = append(all, r.instances[name]...)
	}
	if instances {
		r.all.Set(all)
	}
	if instances || !maps.Equal(names, r.drivers.Value()) { // who replaces an instance may be well again
		r.drivers.Set(names)
	}
}

// driver finds the newest instance of a driver that can be reached, or the newest one if none can. The error is fault.ErrNotFound if it
// has not registered.
func (r *Registry) driver(name string) (*driver, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.instances[name]
	for _, d := range slices.Backward(all) {
		if !r.down[d] {
			return d, nil
		}
	}
	if len(all) > 0 {
		return all[len(all)-1], nil
	}
	return nil, fault.As(fault.ErrNotFound, fmt.Errorf("DRA driver %s is not registered", name))
}

// Run watches which drivers can be reached, and hears how their devices fare, until ctx ends.
func (r *Registry) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	attended := map[*driver]context.CancelFunc{}
	for {
		all, newer := r.all.Get()
		for d, leave := range attended {
			if !slices.Contains(all, d) {
				leave()
				delete(attended, d)
			}
		}
		for _, d := range all {
			if attended[d] != nil {
				continue
			}
			attending, leave := context.WithCancel(ctx)
			attended[d] = leave
			work.Go(func() { r.watch(attending, d) })
			if r.cfg.Health && d.health != "" {
				work.Go(func() { r.listen(attending, d) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
		}
	}
}

// watch keeps a connection to a driver, and notes whether there is one.
func (r *Registry) watch(ctx context.Context, d *driver) {
	for {
		state := d.conn.GetState()
		switch state {
		case connectivity.Idle:
			d.conn.Connect()
		case connectivity.Ready:
			r.reached(d, true)
		case connectivity.TransientFailure:
			r.reached(d, false)
		case connectivity.Connecting:
		case connectivity.Shutdown:
			return
		}
		if !d.conn.WaitForStateChange(ctx, state) {
			return
		}
	}
}

func (r *Registry) reached(d *driver, is bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down[d] == !is || !slices.Contains(r.instances[d.name], d) {
		return
	}
	r.down[d] = !is
	r.publish(false)
}

// Close ends all connections.
func (r *Registry) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, all := range r.instances {
		for _, d := range all {
			errs = append(errs, d.conn.Close())
		}
	}
	clear(r.instances)
	r.publish(true)
	return errors.Join(errs...)
}
