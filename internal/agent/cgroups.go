package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	kubelet "k8s.io/kubelet/config/v1beta1"

	"github.com/bosun-project/bosun/internal/cgroup"
	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/limits"
	"github.com/bosun-project/bosun/internal/nodestatus"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/process"
	"github.com/bosun-project/bosun/internal/runtime"
	"github.com/bosun-project/bosun/internal/worker"
)

// cgroups keeps the cgroups of pods and of all pods together. Which driver is in use is the runtime's to say
// (behaviour 202), so the tree is made when it is first needed and the runtime answers.
type cgroups struct {
	client *runtime.Client
	config cgroup.Config
	room   nodestatus.Room
	warn   func(string)
	// made is told of the version of cgroups.
	made func(version int)
	// took is told how long it took to create, update or destroy cgroups.
	took func(operation string, took time.Duration)

	// trouble is why cgroups of pods cannot be made; empty while all is well or nothing is known.
	trouble latest.Cell[string]

	mu   sync.Mutex
	tree *cgroup.Tree
}

// driverWait bounds how long a runtime may take to say which cgroup driver it uses.
const driverWait = 10 * time.Second

func (c *cgroups) ready(ctx context.Context) (*cgroup.Tree, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tree != nil {
		return c.tree, nil
	}
	ctx, cancel := context.WithTimeout(ctx, driverWait)
	defer cancel()
	config := c.config
	switch said, err := c.client.RuntimeConfig(ctx); {
	case err == nil && said != "":
		config.Driver = cgroup.Driver(said)
	case err != nil && !errors.Is(err, fault.ErrUnsupported):
		return nil, err
	}
	tree, warning, err := makeTree(ctx, config)
	if ctx.Err() == nil {
		c.tell(err)
	}
	if err != nil {
		return nil, err
	}
	if warning != "" {
		c.warn(warning)
	}
	c.tree = tree
	c.made(tree.Version())
	return tree, nil
}

// makeTree makes the cgroups above those of pods.
func makeTree(ctx context.Context, config cgroup.Config) (tree *cgroup.Tree, warning string, err error) {
	if tree, err = cgroup.New(config); err == nil {
		warning, err = tree.EnsureQOS(ctx)
	}
	return tree, warning, err
}

// tell publishes what keeps pods from having cgroups. Call it with mu held.
func (c *cgroups) tell(err error) {
	message := ""
	if err != nil {
		message = "cgroups of pods cannot be made: " + err.Error()
	}
	if c.trouble.Value() != message {
		c.trouble.Set(message)
	}
}

// known is the tree, nil until it is made.
func (c *cgroups) known() *cgroup.Tree {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tree
}

// version is 1 or 2: what the tree says once it is made, and what is mounted before.
func (c *cgroups) version() int {
	if t := c.known(); t != nil {
		return t.Version()
	}
	if v2, err := process.CgroupV2("/"); err == nil && !v2 {
		return 1
	}
	return 2
}

// limitHugePages tells whether huge pages can be limited; that is assumed until the tree is made.
func (c *cgroups) limitHugePages() bool {
	t := c.known()
	return t == nil || t.LimitsHugePages()
}

// do does something with the tree, and tells how long it took.
func (c *cgroups) do(ctx context.Context, operation string, work func(*cgroup.Tree) error) error {
	tree, err := c.ready(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	err = work(tree)
	c.took(operation, time.Since(began))
	return err
}

func (c *cgroups) Ensure(ctx context.Context, p *v1.Pod, own bool) error {
	return c.do(ctx, "create", func(tree *cgroup.Tree) error { return tree.Ensure(ctx, p, own) })
}

func (c *cgroups) Grow(ctx context.Context, p *v1.Pod, own bool) error {
	return c.do(ctx, "update", func(tree *cgroup.Tree) error { return tree.Grow(ctx, p, own) })
}

func (c *cgroups) Settle(ctx context.Context, p *v1.Pod, own bool) error {
	return c.do(ctx, "update", func(tree *cgroup.Tree) error { return tree.Settle(ctx, p, own) })
}

func (c *cgroups) Lost(ctx context.Context, p *v1.Pod) (bool, error) {
	tree, err := c.ready(ctx)
	if err != nil {
		return false, err
	}
	return tree.Lost(p), nil
}

// Parent is empty until the tree exists; a sandbox is only made after Ensure.
func (c *cgroups) Parent(p *v1.Pod) string {
	if t := c.known(); t != nil {
		return t.Parent(p)
	}
	return ""
}

func (c *cgroups) Remove(ctx context.Context, uid types.UID) error {
	return c.do(ctx, "destroy", func(tree *cgroup.Tree) error { return tree.Remove(ctx, uid) })
}

// Limit writes what the node's room says for all pods together.
func (c *cgroups) Limit(ctx context.Context) error {
	return c.do(ctx, "update", func(tree *cgroup.Tree) error { return c.limit(ctx, tree) })
}

func (c *cgroups) limit(ctx context.Context, tree *cgroup.Tree) error {
	all := cgroup.Unlimited()
	if c.room.Enforced {
		all = cgroup.NodeResources(c.room.Capacity, c.room.SystemReserved, c.room.KubeReserved)
	}
	wrong := []error{tree.SetNodeLimits(ctx, all)}
	for _, r := range c.room.Reserves {
		wrong = append(wrong, tree.SetReserve(ctx, r.Cgroup, cgroup.ReserveResources(r.Amount, r.WeightOnly, c.config.Pod.Reserve)))
	}
	return errors.Join(wrong...)
}

func (c *cgroups) Weigh(ctx context.Context, of limits.Sums) error {
	return c.do(ctx, "update", func(tree *cgroup.Tree) error {
		return errors.Join(tree.SetBurstableShares(ctx, of.Shares), tree.Protect(ctx, of.Memory, of.Burstable))
	})
}

// sum adds up what pods ask for.
func (c *cgroups) sum(pods []*v1.Pod) limits.Sums {
	s := limits.Sums{Shares: cgroup.BurstableShares(pods)}
	if c.config.Pod.Reserve {
		s.Memory, s.Burstable = cgroup.Protected(pods)
	}
	return s
}

// pods lists the pods that have a cgroup; none while the tree is not known yet.
func (c *cgroups) pods() ([]types.UID, error) {
	if t := c.known(); t != nil {
		return t.Pods()
	}
	return nil, nil
}

// cgroupConfig is what the configuration says of cgroups.
func cgroupConfig(c *config.Config, h host.Facts) cgroup.Config {
	k := &c.Kubelet
	options := cgroup.Options{NoQuota: k.CPUCFSQuota != nil && !*k.CPUCFSQuota, Reserve: tieredReservation(c)}
	if k.CPUCFSQuotaPeriod != nil {
		options.CPUPeriod = uint64(k.CPUCFSQuotaPeriod.Microseconds())
	}
	if k.PodPidsLimit != nil {
		options.PidsLimit = *k.PodPidsLimit
	}
	for size := range h.HugePages {
		options.PageSizes = append(options.PageSizes, cgroup.PageSize(size))
	}
	return cgroup.Config{
		Driver: cgroup.Driver(k.CgroupDriver), Root: k.CgroupRoot, Pod: options, Flat: k.CgroupsPerQOS != nil && !*k.CgroupsPerQOS,
	}
}

// tieredReservation tells whether the memory that pods ask for is kept from being reclaimed (behaviour 212).
func tieredReservation(c *config.Config) bool {
	return c.Kubelet.MemoryReservationPolicy == kubelet.TieredReservationMemoryReservationPolicy && c.Gate("MemoryQoS")
}

// buildLimits makes what keeps the limits of all pods together.
func (a *Agent) buildLimits() {
	a.limits = limits.New(limits.Config{
		Up: func() (bool, <-chan struct{}) {
			h, newer := a.observer.Health().Get()
			return h.Up, newer
		},
		Pods: func() ([]*v1.Pod, <-chan struct{}) {
			entries, newer := a.set.Table().Pods()
			return active(entries), newer
		},
		Sum: a.cgroups.sum, Cgroups: a.cgroups, Enforced: a.room.Enforced, Node: a.host.Name, Notes: a.note,
	})
}

// active are the pods that run or are about to.
func active(entries []*worker.Entry) []*v1.Pod {
	pods := make([]*v1.Pod, 0, len(entries))
	for _, e := range entries {
		if phase := e.Status.Phase; phase != v1.PodSucceeded && phase != v1.PodFailed {
			pods = append(pods, plan.Allocated(e.Desired, e.Memory.Kept.Allocated).Pod)
		}
	}
	return pods
}
