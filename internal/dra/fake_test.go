package dra_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	resource "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/dra"
	"github.com/bosun-project/bosun/internal/testbed/dradriver"
)

const (
	gpus = "gpu.example.com"
	nics = "nic.example.com"
)

// node is a node with drivers, claims in an API server, and a ledger.
type node struct {
	t        *testing.T
	drivers  *dra.Registry
	claims   *dra.Claims
	objects  map[string]*resource.ResourceClaim
	boot     string
	mu       sync.Mutex
	saved    map[string][]byte
	full     error
	reads    int
	observed []string
	news     chan struct{}
	// saves counts what was to be remembered; from the crash-th on all fails, the first of them perhaps though it was done.
	saves, crash int
	lost         bool
}

func newNode(t *testing.T, timeout time.Duration) *node {
	n := &node{t: t, objects: map[string]*resource.ResourceClaim{}, saved: map[string][]byte{}, boot: "boot-1", news: make(chan struct{})}
	n.drivers = dra.NewRegistry(dra.RegistryConfig{Timeout: timeout, Health: true, Observe: func(c dra.Call) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.observed = append(n.observed, fmt.Sprint(c.Driver, " ", c.Method, " ", c.Code))
	}})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.drivers.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, n.drivers.Close()); err != nil {
			t.Error(err)
		}
	})
	n.restart()
	return n
}

// restart is another life of the agent; the drivers stay as they are.
func (n *node) restart() {
	n.t.Helper()
	n.mu.Lock()
	saved := maps.Clone(n.saved)
	n.mu.Unlock()
	var wrong []error
	n.claims, wrong = dra.New(dra.Config{Drivers: n.drivers, Read: n.read, Store: n, Boot: n.boot}, saved)
	if len(wrong) > 0 {
		n.t.Error(wrong)
	}
}

func (n *node) driver(name string, o dradriver.Options) *dradriver.Driver {
	n.t.Helper()
	o.Name = name
	d := dradriver.Start(n.t, o)
	if o.Versions == nil {
		o.Versions = []string{"v1.DRAPlugin"}
	}
	if err := errors.Join(n.drivers.Validate(name, o.Versions), n.drivers.Register(n.t.Context(), name, d.Socket, o.Versions)); err != nil {
		n.t.Fatal(err)
	}
	return d
}

func (n *node) read(_ context.Context, namespace, name string) (*resource.ResourceClaim, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reads++
	n.tell()
	if c := n.objects[namespace+"/"+name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("resourceclaim %q not found", name)
}

func (n *node) SaveClaims(_ context.Context, texts map[string][]byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer n.tell()
	if n.full != nil {
		return n.full
	}
	n.saves++
	killed := n.crash > 0 && n.saves >= n.crash
	if killed && (n.lost || n.saves > n.crash) {
		return errors.New("killed")
	}
	for key, text := range texts {
		if text == nil {
			delete(n.saved, key)
		} else {
			n.saved[key] = text
		}
	}
	if killed {
		return errors.New("killed")
	}
	return nil
}

// crashAt has the agent die when something is remembered for the so-many-th time; 0 is never. It tells how often it was until now.
func (n *node) crashAt(at int, lost bool) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.crash, n.lost = at, lost
	return n.saves
}

// tell wakes await. The lock is held.
func (n *node) tell() {
	close(n.news)
	n.news = make(chan struct{})
}

// await waits until something is so, and looks whenever a claim was read or remembered.
func (n *node) await(what string, good func() bool) {
	n.t.Helper()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for {
		n.mu.Lock()
		news := n.news
		n.mu.Unlock()
		if good() {
			return
		}
		select {
		case <-news:
		case <-late.C:
			n.t.Fatalf("never: %s", what)
		}
	}
}

func (n *node) readTimes() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reads
}

// claim makes a claim with devices of drivers, for pods.
func (n *node) claim(name string, drivers []string, pods ...*v1.Pod) *resource.ResourceClaim {
	c := &resource.ResourceClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-" + name)}}
	c.Status.Allocation = &resource.AllocationResult{}
	for _, d := range drivers {
		c.Status.Allocation.Devices.Results = append(c.Status.Allocation.Devices.Results,
			resource.DeviceRequestAllocationResult{Driver: d, Pool: "pool", Device: "dev0", Request: "one"})
	}
	for _, p := range pods {
		c.Status.ReservedFor = append(c.Status.ReservedFor, resource.ResourceClaimConsumerReference{Resource: "pods", Name: p.Name, UID: p.UID})
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.objects["shop/"+name] = c
	return c
}

// web is a pod whose one container uses claims.
func web(name string, claims ...string) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("pod-" + name)}}
	c := v1.Container{Name: "app"}
	for _, claim := range claims {
		p.Spec.ResourceClaims = append(p.Spec.ResourceClaims, v1.PodResourceClaim{Name: claim, ResourceClaimName: &claim})
		c.Resources.Claims = append(c.Resources.Claims, v1.ResourceClaim{Name: claim})
	}
	p.Spec.Containers = []v1.Container{c}
	return p
}

func (n *node) devices(p *v1.Pod) []string {
	n.t.Helper()
	names, err := n.claims.Devices(p, &p.Spec.Containers[0])
	if err != nil {
		n.t.Error(err)
	}
	return names
}

func (n *node) left() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.saved)
}

// asked counts the records that say that a claim is being given back: asked for, and of no boot.
func (n *node) asked() (count int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, text := range n.saved {
		if strings.Contains(string(text), `"asked":true`) && !strings.Contains(string(text), `"boot"`) {
			count++
		}
	}
	return count
}

func (n *node) users() []types.UID {
	pods, _ := n.claims.Pods()
	return pods
}
