package dra

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	healthpb "k8s.io/kubelet/pkg/apis/dra-health/v1"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/backoff"
)

// device names one device of a driver.
type device struct{ pool, name string }

// Fare is how a device fares, as its driver said last.
type Fare struct {
	Health  v1.ResourceHealthStatus
	Message string
	// Until is when that is too old to be believed.
	Until time.Time
}

const (
	// believed is how long it is believed how a device fares, if its driver does not say.
	believed = 30 * time.Second
	// longestMessage is how much a driver may say of a device, in bytes.
	longestMessage = v1.ResourceHealthMessageMaxLength
)

// relisten are the pauses between attempts to hear how devices fare.
var relisten = backoff.Series{Initial: time.Second, Max: time.Minute}

// listen hears how the devices of a driver fare until ctx ends.
func (r *Registry) listen(ctx context.Context, d *driver) {
	var pause time.Duration
	for ctx.Err() == nil {
		if r.hear(ctx, d) {
			pause = 0
		}
		pause = relisten.Next(pause)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// hear takes in what a driver says until it says no more; it tells whether there was anything.
func (r *Registry) hear(ctx context.Context, d *driver) (heard bool) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	raw, err := d.conn.NewStream(ctx, &healthpb.DRAResourceHealth_ServiceDesc.Streams[0], d.health+"NodeWatchResources", grpc.WaitForReady(true))
	if err != nil {
		return false
	}
	stream := &grpc.GenericClientStream[healthpb.NodeWatchResourcesRequest, healthpb.NodeWatchResourcesResponse]{ClientStream: raw}
	if stream.SendMsg(&healthpb.NodeWatchResourcesRequest{}) != nil || stream.CloseSend() != nil {
		return false
	}
	for {
		said, err := stream.Recv()
		if err != nil {
			return heard
		}
		heard = true
		r.learnHealth(d.name, said, time.Now())
	}
}

// learnHealth takes in how all devices of a driver fare. Those it does not name any more are believed until their time is over.
func (r *Registry) learnHealth(driver string, said *healthpb.NodeWatchResourcesResponse, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := maps.Clone(r.fares[driver])
	if all == nil {
		all = map[device]Fare{}
	}
	maps.DeleteFunc(all, func(_ device, f Fare) bool { return !now.Before(f.Until) })
	for _, s := range said.GetDevices() {
		all[device{s.GetDevice().GetPoolName(), s.GetDevice().GetDeviceName()}] = fareOf(s, now)
	}
	r.fares[driver] = all
	r.health.Set(maps.Clone(r.fares))
}

// forgetHealth forgets how the devices of a driver fare that has gone. The lock is held.
func (r *Registry) forgetHealth(driver string) {
	if _, known := r.fares[driver]; known {
		delete(r.fares, driver)
		r.health.Set(maps.Clone(r.fares))
	}
}

func fareOf(s *healthpb.DeviceHealth, now time.Time) Fare {
	f := Fare{Health: v1.ResourceHealthStatusUnknown, Message: shorten(s.GetMessage()), Until: now.Add(believed)}
	if seconds := s.GetHealthCheckTimeoutSeconds(); seconds > 0 && seconds < int64(24*time.Hour/time.Second) {
		f.Until = now.Add(time.Duration(seconds) * time.Second)
	}
	switch s.GetHealth() {
	case healthpb.HealthStatus_HEALTHY:
		f.Health = v1.ResourceHealthStatusHealthy
	case healthpb.HealthStatus_UNHEALTHY:
		f.Health = v1.ResourceHealthStatusUnhealthy
	case healthpb.HealthStatus_UNKNOWN:
	}
	return f
}

// shorten cuts what a driver says of a device.
func shorten(message string) string {
	message = strings.ToValidUTF8(message, "?")
	if len(message) <= longestMessage {
		return message
	}
	return strings.ToValidUTF8(message[:longestMessage-len("...")], "") + "..."
}

// HealthChanged returns a channel that is closed when a device fares otherwise than now.
func (r *Registry) HealthChanged() <-chan struct{} {
	_, newer := r.health.Get()
	return newer
}

// Health is how the devices fare that a container has of its pod's claims, for its status, and when the earliest of that is too old to
// be believed; zero if none ever is. What no driver tells of is unknown.
func (c *Claims) Health(p *v1.Pod, container *v1.Container, now time.Time) (all []v1.ResourceStatus, until time.Time) {
	fares := c.cfg.Drivers.health.Value()
	for _, g := range c.Grants(p, container) {
		status := v1.ResourceStatus{Name: v1.ResourceName("claim:" + g.Name)}
		if g.Request != "" {
			status.Name += v1.ResourceName("/" + g.Request)
		}
		for _, d := range g.Devices {
			id := v1.ResourceID(d.Driver + "/" + d.Pool + "/" + d.Device)
			if slices.ContainsFunc(status.Resources, func(h v1.ResourceHealth) bool { return h.ResourceID == id }) { // several shares of it
				continue
			}
			h := v1.ResourceHealth{ResourceID: id, Health: v1.ResourceHealthStatusUnknown}
			if f, said := fares[d.Driver][device{d.Pool, d.Device}]; said && now.Before(f.Until) {
				h.Health = f.Health
				if f.Message != "" {
					h.Message = &f.Message
				}
				if until.IsZero() || f.Until.Before(until) {
					until = f.Until
				}
			}
			status.Resources = append(status.Resources, h)
		}
		all = append(all, status)
	}
	return all, until
}
