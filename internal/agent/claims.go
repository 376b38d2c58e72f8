package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/bosun-project/bosun/internal/dra"
	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/metrics"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/resourceslices"
)

// buildClaims makes what prepares ResourceClaims for pods, and what takes back what drivers offer that are gone. It comes before the
// loop of plugins, which hands the drivers over.
func (a *Agent) buildClaims() error {
	saved, damaged, err := a.ledger.LoadClaims()
	if err != nil {
		return err
	}
	var numbers *metrics.Claims
	a.allocators = dra.NewRegistry(dra.RegistryConfig{
		Health:  a.cfg.Gate("ResourceHealthStatus"),
		Observe: func(c dra.Call) { numbers.Called(c.Driver, c.Method, c.Code.String(), c.Took) },
	})
	var wrong []error
	a.claims, wrong = dra.New(dra.Config{
		Drivers: a.allocators, Read: a.objects.ResourceClaim, Store: a.ledger, Boot: host.Who().BootID,
		Observe: func(operation string, failed bool, took time.Duration) { numbers.Done(operation, failed, took) },
	}, saved)
	numbers = a.metrics.Claims(a.claims.InUse)
	for _, uid := range damaged {
		wrong = append(wrong, fmt.Errorf("what is remembered of resource claim %s is damaged", uid))
	}
	for _, err := range wrong {
		a.log.Warn("a resource claim is forgotten; it is prepared anew if a pod uses it", "err", err)
	}
	withdrawal := resourceslices.New(resourceslices.Config{
		Drivers: a.allocators.Drivers, Listed: a.member.client.SliceDrivers, Delete: a.member.client.DeleteSlices, Back: a.member.client.Back,
		Log: a.log,
	})
	a.sources = append(a.sources, actor{"DRA drivers", a.allocators.Run}, actor{"DRA drivers followed", a.followAllocators},
		a.member.once(actor{"resource slices of the node", withdrawal.Run}))
	if a.cfg.Gate("ResourceHealthStatus") {
		a.sources = append(a.sources, actor{"health of claimed devices", a.followClaimed})
	}
	return nil
}

// claimants are the pods that resource claims are prepared for, or may be.
func (a *Agent) claimants() ([]types.UID, error) {
	if a.claims == nil {
		return nil, nil
	}
	return a.claims.Pods()
}

// followAllocators has pods look at their ResourceClaims anew when a DRA driver has come.
func (a *Agent) followAllocators(ctx context.Context) error {
	_, newer := a.allocators.Drivers()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
			_, newer = a.allocators.Drivers()
			a.objects.Touch(pod.UsesClaims)
		}
	}
}

// claimedDevices are how the devices of claims fare, by pod and container, as a status tells it.
type claimedDevices = map[types.UID]map[string][]v1.ResourceStatus

// followClaimed keeps how the devices of claims fare that pods have.
func (a *Agent) followClaimed(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		healthier, changed := a.allocators.HealthChanged(), a.claims.Changed()
		_, newer := a.wanted.Get()
		all, until := a.claimedNow(time.Now())
		a.claimed.Set(all)
		var stale <-chan time.Time
		if !until.IsZero() {
			timer.Reset(time.Until(until))
			stale = timer.C
		}
		if users, _ := a.claims.Pods(); len(users) == 0 { // no matter who is wanted, as long as nobody has any
			newer = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-healthier:
		case <-changed:
		case <-newer:
		case <-stale:
		}
	}
}

func (a *Agent) claimedNow(now time.Time) (all claimedDevices, until time.Time) {
	users, _ := a.claims.Pods()
	wanted := a.wanted.Value().Pods
	for _, uid := range users {
		d := wanted[uid]
		if d == nil {
			continue
		}
		for _, list := range [][]v1.Container{d.Pod.Spec.InitContainers, d.Pod.Spec.Containers} {
			for i := range list {
				status, stale := a.claims.Health(d.Pod, &list[i], now)
				if len(status) == 0 {
					continue
				}
				if !stale.IsZero() && (until.IsZero() || stale.Before(until)) {
					until = stale
				}
				if all == nil {
					all = claimedDevices{}
				}
				if all[uid] == nil {
					all[uid] = map[string][]v1.ResourceStatus{}
				}
				if !a.cfg.Gate("ResourceHealthStatusMessage") {
					dropMessages(status)
				}
				all[uid][list[i].Name] = status
			}
		}
	}
	return all, until
}

func dropMessages(all []v1.ResourceStatus) {
	for i := range all {
		for j := range all[i].Resources {
			all[i].Resources[j].Message = nil
		}
	}
}

// dynamic is what a container has of its pod's ResourceClaims, as the socket of pod resources tells it.
func (a *Agent) dynamic(p *v1.Pod, c *v1.Container) []*podresources.DynamicResource {
	if a.claims == nil {
		return nil
	}
	var all []*podresources.DynamicResource
	for _, g := range a.claims.Grants(p, c) {
		one := &podresources.DynamicResource{ClaimName: g.Claim, ClaimNamespace: g.Namespace}
		for _, d := range g.Devices {
			told := &podresources.ClaimResource{DriverName: d.Driver, PoolName: d.Pool, DeviceName: d.Device}
			if d.Share != "" {
				told.ShareId = &d.Share
			}
			for _, name := range d.CDI {
				told.CdiDevices = append(told.CdiDevices, &podresources.CDIDevice{Name: name})
			}
			one.ClaimResources = append(one.ClaimResources, told)
		}
		all = append(all, one)
	}
	return all
}

// claimTroubles are the DRA drivers that have registered and cannot be reached, for `bosun explain`.
func (a *Agent) claimTroubles(add func(what, message string)) {
	if a.allocators == nil {
		return
	}
	drivers, _ := a.allocators.Drivers()
	var names []string
	for name, reached := range drivers {
		if !reached {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, strings.Compare)
	for _, name := range names {
		add("DRA driver "+name, "it has registered and cannot be reached")
	}
}
