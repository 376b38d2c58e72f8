package dra

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	resource "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	pb "k8s.io/kubelet/pkg/apis/dra/v1"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/pod"
)

// Store keeps what is remembered of claims over crashes. It returns when that is safe; nil removes a text.
type Store interface {
	SaveClaims(ctx context.Context, texts map[string][]byte) error
}

// Config is what Claims is built from.
type Config struct {
	Drivers *Registry
	// Read returns a ResourceClaim as the API server has it.
	Read  func(ctx context.Context, namespace, name string) (*resource.ResourceClaim, error)
	Store Store
	// Boot identifies the run of the machine.
	Boot string
	// Observe is told how preparing ("PrepareResources") and giving back ("UnprepareResources") of a pod's claims went; nil for nobody.
	Observe func(operation string, failed bool, took time.Duration)
}

// Claims are the ResourceClaims that are prepared on this node. Its methods may be used by several goroutines.
type Claims struct {
	cfg Config

	mu      sync.Mutex
	records map[types.UID]*record
	busy    map[key]bool
	freed   chan struct{}
	changes latest.Cell[int]
}

// New builds Claims from what an earlier life of the agent has saved in the store. The errors are about what could not be read of it,
// which is forgotten.
func New(cfg Config, saved map[string][]byte) (*Claims, []error) {
	if cfg.Observe == nil {
		cfg.Observe = func(string, bool, time.Duration) {}
	}
	records, wrong := remembered(saved)
	return &Claims{cfg: cfg, records: records, busy: map[key]bool{}, freed: make(chan struct{})}, wrong
}

// Prepare has the devices of all claims of a pod prepared, by all drivers at once, each of which is asked in one call. Nobody is asked
// about what is prepared already. What went well stays, whatever the error says; it names claim and driver.
func (c *Claims) Prepare(ctx context.Context, p *v1.Pod) (err error) {
	began := time.Now()
	defer func() { c.cfg.Observe("PrepareResources", err != nil, time.Since(began)) }()
	uses := pod.Claims(p)
	if c.has(p, uses) {
		return nil
	}
	claims, err := c.read(ctx, p, uses)
	if err != nil {
		return err
	}
	parts := map[string][]types.UID{}
	for _, claim := range claims {
		for _, name := range driversOf(claim) {
			parts[name] = append(parts[name], claim.UID)
		}
	}
	drivers := make(map[string]*driver, len(parts))
	var missing []error
	for name := range parts {
		d, err := c.cfg.Drivers.driver(name)
		if err != nil {
			missing = append(missing, err)
		}
		drivers[name] = d
	}
	if len(missing) > 0 { // before anybody is asked: the pod may be deleted at no cost
		return join(missing)
	}
	if err := c.enter(p, claims); err != nil {
		return err
	}
	if len(parts) == 0 {
		return c.save(ctx, uidsOf(claims))
	}
	return atOnce(parts, func(name string, uids []types.UID) error { return c.prepareWith(ctx, drivers[name], uids) })
}

// has tells whether all claims of a pod are prepared for it.
func (c *Claims) has(p *v1.Pod, uses []pod.Claim) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, use := range uses {
		if r := c.find(p.UID, p.Namespace, use.Object); use.Object == "" || r == nil || !r.prepared(c.cfg.Boot) {
			return false
		}
	}
	return true
}

// read gets the claims of a pod, each once, and holds that the pod may use them.
func (c *Claims) read(ctx context.Context, p *v1.Pod, uses []pod.Claim) ([]*resource.ResourceClaim, error) {
	var claims []*resource.ResourceClaim
	var wrong []error
	for _, use := range uses {
		if use.Object == "" {
			wrong = append(wrong, fmt.Errorf("no ResourceClaim has been made for resource claim %s of the pod yet", use.Name))
			continue
		}
		claim, err := c.cfg.Read(ctx, p.Namespace, use.Object)
		if err == nil {
			err = mayUse(p, claim)
		}
		switch {
		case err != nil:
			wrong = append(wrong, err)
		case !slices.ContainsFunc(claims, func(other *resource.ResourceClaim) bool { return other.UID == claim.UID }):
			claims = append(claims, claim)
		}
	}
	return claims, join(wrong)
}

// mayUse tells why a pod may not use a claim; nil if it may.
func mayUse(p *v1.Pod, claim *resource.ResourceClaim) error {
	switch {
	case claim.Status.Allocation == nil:
		return fmt.Errorf("ResourceClaim %s is not allocated", claim.Name)
	case !reserved(p, claim):
		return fmt.Errorf("pod %s (%s) is not allowed to use ResourceClaim %s (%s): it is not reserved for the pod", p.Name, p.UID, claim.Name, claim.UID)
	}
	return nil
}

// reserved tells whether a claim is reserved for a pod, or for the group of pods that it is scheduled with.
func reserved(p *v1.Pod, claim *resource.ResourceClaim) bool {
	group := p.Spec.SchedulingGroup
	return slices.ContainsFunc(claim.Status.ReservedFor, func(r resource.ResourceClaimConsumerReference) bool {
		return r.UID == p.UID || r.Resource == "podgroups" && group != nil && group.PodGroupName != nil && r.Name == *group.PodGroupName
	})
}

// driversOf are the drivers that have part in a claim, each once.
func driversOf(claim *resource.ResourceClaim) []string {
	var names []string
	for i := range claim.Status.Allocation.Devices.Results {
		if name := claim.Status.Allocation.Devices.Results[i].Driver; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func uidsOf(claims []*resource.ResourceClaim) []types.UID {
	uids := make([]types.UID, 0, len(claims))
	for _, claim := range claims {
		uids = append(uids, claim.UID)
	}
	return uids
}

// enter notes that a pod uses claims.
func (c *Claims) enter(p *v1.Pod, claims []*resource.ResourceClaim) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, claim := range claims {
		if old := c.find(p.UID, claim.Namespace, claim.Name); old != nil && old.UID != claim.UID {
			return fmt.Errorf("ResourceClaim %s is another one (%s) than was prepared for the pod (%s)", claim.Name, claim.UID, old.UID)
		}
	}
	for _, claim := range claims {
		r := c.records[claim.UID]
		if r == nil {
			r = &record{Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, Parts: map[string]part{}}
			c.records[claim.UID] = r
		}
		if !slices.Contains(r.Pods, p.UID) {
			r.Pods = append(slices.Clip(r.Pods), p.UID)
			c.changes.Set(c.changes.Value() + 1)
		}
		for _, name := range driversOf(claim) {
			if _, known := r.Parts[name]; !known {
				r.Parts[name] = part{}
			}
		}
	}
	return nil
}

// prepareWith asks one driver for what is not prepared yet of claims.
func (c *Claims) prepareWith(ctx context.Context, d *driver, claims []types.UID) error {
	free, err := c.take(ctx, keysOf(claims, d.name))
	if err != nil {
		return err
	}
	defer free()
	ask := c.choose(claims, d.name, func(p part) (part, bool) { return part{Asked: true}, p.Boot != c.cfg.Boot })
	if err := c.save(ctx, claims); err != nil || len(ask) == 0 {
		return err
	}
	answers, err := d.prepare(ctx, ask)
	if err != nil {
		return fmt.Errorf("NodePrepareResources failed for ResourceClaim %s of driver %s: %w", namesOf(ask), d.name, err)
	}
	var wrong []error
	for _, claim := range ask {
		devices, err := accept(answers[claim.Uid])
		if err != nil {
			wrong = append(wrong, fmt.Errorf("NodePrepareResources failed for ResourceClaim %s of driver %s: %w", claim.Name, d.name, err))
			continue
		}
		c.put(claim, d.name, part{Asked: true, Boot: c.cfg.Boot, Devices: devices})
	}
	return join(append(wrong, c.save(ctx, claims)))
}

// choose changes the parts that a driver has in claims, where change says so, and tells which these are.
func (c *Claims) choose(claims []types.UID, driver string, change func(part) (part, bool)) []*pb.Claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	var chosen []*pb.Claim
	for _, uid := range claims {
		r := c.records[uid]
		if r == nil {
			continue
		}
		if p, yes := change(r.Parts[driver]); yes {
			r.Parts[driver] = p
			chosen = append(chosen, r.message())
		}
	}
	return chosen
}

func (c *Claims) put(claim *pb.Claim, driver string, p part) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.records[types.UID(claim.Uid)]; r != nil {
		r.Parts[driver] = p
		c.changes.Set(c.changes.Value() + 1)
	}
}

// Changed returns a channel that is closed when other devices are prepared than now.
func (c *Claims) Changed() <-chan struct{} {
	_, newer := c.changes.Get()
	return newer
}

// accept takes a driver's answer about one claim.
func accept(answer *pb.NodePrepareResourceResponse) ([]Device, error) {
	switch {
	case answer == nil:
		return nil, errors.New("the driver has not answered about it")
	case answer.Error != "":
		return nil, errors.New(answer.Error)
	}
	devices := make([]Device, 0, len(answer.Devices))
	for _, d := range answer.Devices {
		for _, name := range d.CdiDeviceIds {
			if !qualified(name) {
				return nil, fmt.Errorf("the driver calls device %s/%s %q, which is no name of a CDI device; one is such as vendor.com/class=device", d.PoolName, d.DeviceName, name)
			}
		}
		devices = append(devices, Device{
			Pool: d.PoolName, Device: d.DeviceName, Share: d.GetShareId(), Requests: slices.Clone(d.RequestNames), CDI: slices.Clone(d.CdiDeviceIds),
		})
	}
	return devices, nil
}

// qualified tells whether a name says vendor, class and device, as the runtime wants it: vendor.com/class=device.
func qualified(name string) bool {
	kind, device, ok := strings.Cut(name, "=")
	vendor, class, both := strings.Cut(kind, "/")
	return ok && both && vendor != "" && class != "" && device != "" && !strings.ContainsAny(name, " \t\n")
}

func namesOf(claims []*pb.Claim) string {
	names := make([]string, 0, len(claims))
	for _, claim := range claims {
		names = append(names, claim.Name)
	}
	return strings.Join(names, ", ")
}

// atOnce does something with each driver, and returns when all is done.
func atOnce(parts map[string][]types.UID, do func(driver string, claims []types.UID) error) error {
	var all sync.WaitGroup
	errs := make(chan error, len(parts))
	for name, claims := range parts {
		all.Go(func() { errs <- do(name, claims) })
	}
	all.Wait()
	close(errs)
	var wrong []error
	for err := range errs {
		wrong = append(wrong, err)
	}
	return join(wrong)
}

// join is all errors in one line, in an order that stays, without nils; errors.Is finds each.
func join(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return joined(errs)
}

// joined are several errors in one line.
type joined []error

func (j joined) Error() string {
	texts := make([]string, len(j))
	for i, err := range j {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (j joined) Unwrap() []error { return j }
