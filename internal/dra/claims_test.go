package dra_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	resource "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/types"
	pb "k8s.io/kubelet/pkg/apis/dra/v1"

	"github.com/bosun-project/bosun/internal/dra"
	"github.com/bosun-project/bosun/internal/testbed/dradriver"
)

// TestPrepareAndGiveBack: behaviour 241, one call a driver for all claims of a pod, both versions of the service, and nothing twice.
func TestPrepareAndGiveBack(t *testing.T) {
	n := newNode(t, 0)
	gpu := n.driver(gpus, dradriver.Options{})
	nic := n.driver(nics, dradriver.Options{Versions: []string{"v1beta1.DRAPlugin"}})
	p := web("web", "a", "b", "c", "none")
	n.claim("a", []string{gpus}, p)
	n.claim("b", []string{gpus, nics}, p)
	n.claim("c", []string{nics}, p)
	n.claim("none", nil, p)
	for range 2 { // the second time there is nothing to do
		if err := n.claims.Prepare(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if calls := gpu.Calls("NodePrepareResources"); len(calls) != 1 || !slices.Equal(calls[0].Claims, []string{"a", "b"}) {
		t.Errorf("calls %v", calls)
	}
	if calls := nic.Calls("NodePrepareResources"); len(calls) != 1 || !slices.Equal(calls[0].Claims, []string{"b", "c"}) {
		t.Errorf("calls %v", calls)
	}
	want := []string{gpus + "/dev=uid-a-dev0", gpus + "/dev=uid-b-dev0", nics + "/dev=uid-b-dev0", nics + "/dev=uid-c-dev0"}
	if got := n.devices(p); !slices.Equal(got, want) {
		t.Errorf("devices %q, want %q", got, want)
	}
	if got, want := n.claims.InUse(), map[string]int{dra.AnyDriver: 4, gpus: 2, nics: 2}; !reflect.DeepEqual(got, want) {
		t.Errorf("in use %v, want %v", got, want)
	}
	if pods, _ := n.claims.Pods(); !slices.Equal(pods, []types.UID{p.UID}) {
		t.Errorf("pods %v", pods)
	}
	for range 2 {
		if err := n.claims.Unprepare(t.Context(), p.UID); err != nil {
			t.Fatal(err)
		}
	}
	if calls := gpu.Calls("NodeUnprepareResources"); len(calls) != 1 || !slices.Equal(calls[0].Claims, []string{"a", "b"}) {
		t.Errorf("calls %v", calls)
	}
	if n.left() > 0 || len(gpu.Prepared())+len(nic.Prepared()) > 0 || n.claims.InUse()[dra.AnyDriver] != 0 {
		t.Errorf("left: %d records, %v, %v", n.left(), gpu.Prepared(), nic.Prepared())
	}
	if _, err := n.claims.Devices(p, &p.Spec.Containers[0]); err == nil {
		t.Error("devices of claims that were given back")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if want := gpus + " NodePrepareResources OK"; !slices.Contains(n.observed, want) {
		t.Errorf("observed %q", n.observed)
	}
}

// TestWhatKeepsAClaimBack holds what is said when a claim cannot be prepared, and that no driver was asked then.
func TestWhatKeepsAClaimBack(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*node, *v1.Pod, *resource.ResourceClaim)
		want   string
	}{
		"not there":     {func(n *node, _ *v1.Pod, _ *resource.ResourceClaim) { delete(n.objects, "shop/a") }, `resourceclaim "a" not found`},
		"not allocated": {func(_ *node, _ *v1.Pod, c *resource.ResourceClaim) { c.Status.Allocation = nil }, "ResourceClaim a is not allocated"},
		"not reserved": {func(_ *node, _ *v1.Pod, c *resource.ResourceClaim) { c.Status.ReservedFor[0].UID = "other" },
			"pod web (pod-web) is not allowed to use ResourceClaim a (uid-a): it is not reserved for the pod"},
		"not made": {func(_ *node, p *v1.Pod, _ *resource.ResourceClaim) {
			p.Spec.ResourceClaims[0] = v1.PodResourceClaim{Name: "a", ResourceClaimTemplateName: new("t")}
		}, "no ResourceClaim has been made for resource claim a of the pod yet"},
		"no driver": {func(_ *node, _ *v1.Pod, c *resource.ResourceClaim) {
			c.Status.Allocation.Devices.Results[0].Driver = "lost.example.com"
		},
			"DRA driver lost.example.com is not registered"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, 0)
			d := n.driver(gpus, dradriver.Options{})
			p := web("web", "a", "b")
			n.claim("b", []string{gpus}, p)
			c.change(n, p, n.claim("a", []string{gpus}, p))
			if err := n.claims.Prepare(t.Context(), p); err == nil || err.Error() != c.want {
				t.Errorf("error %v, want %s", err, c.want)
			}
			if calls := d.Calls(""); len(calls) > 0 {
				t.Errorf("calls %v", calls)
			}
			if err := n.claims.Unprepare(t.Context(), p.UID); err != nil || len(d.Calls("")) > 0 {
				t.Errorf("deleting the pod costs something: %v, %v", err, d.Calls(""))
			}
		})
	}
}

// TestGroupsOfPods: a claim may be reserved for the group of pods.
func TestGroupsOfPods(t *testing.T) {
	n := newNode(t, 0)
	n.driver(gpus, dradriver.Options{})
	p := web("web", "a")
	p.Spec.SchedulingGroup = &v1.PodSchedulingGroup{PodGroupName: new("train")}
	c := n.claim("a", []string{gpus})
	c.Status.ReservedFor = []resource.ResourceClaimConsumerReference{{APIGroup: "scheduling.k8s.io", Resource: "podgroups", Name: "train", UID: "g"}}
	if err := n.claims.Prepare(t.Context(), p); err != nil {
		t.Error(err)
	}
}

// TestRequests: a container that names one request gets the devices of that alone.
func TestRequests(t *testing.T) {
	n := newNode(t, 0)
	n.driver(gpus, dradriver.Options{Allocated: func(*pb.Claim) []*pb.Device {
		return []*pb.Device{
			{RequestNames: []string{"big"}, PoolName: "pool", DeviceName: "dev0"},
			{RequestNames: []string{"small/cheap"}, PoolName: "pool", DeviceName: "dev1", ShareId: new("s1")},
			{PoolName: "pool", DeviceName: "common"},
		}
	}})
	p := web("web", "a")
	p.Status.ExtendedResourceClaimStatus = &v1.PodExtendedResourceClaimStatus{
		ResourceClaimName: "ext", RequestMappings: []v1.ContainerExtendedResourceRequest{{ContainerName: "ext", RequestName: "big"}},
	}
	n.claim("a", []string{gpus}, p)
	n.claim("ext", []string{gpus}, p)
	if err := n.claims.Prepare(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for request, want := range map[string][]string{"": {"dev0", "dev1", "common"}, "big": {"dev0", "common"}, "small": {"dev1", "common"}, "smal": {"common"}} {
		c := &v1.Container{Name: "app"}
		c.Resources.Claims = []v1.ResourceClaim{{Name: "a", Request: request}}
		grants := n.claims.Grants(p, c)
		var got []string
		for _, d := range grants[0].Devices {
			got = append(got, d.Device)
			if d.Driver != gpus || d.Pool != "pool" || d.Device == "dev1" && d.Share != "s1" {
				t.Errorf("device %+v", d)
			}
		}
		if g := grants[0]; !slices.Equal(got, want) || g.Name != "a" || g.Claim != "a" || g.Namespace != "shop" || g.Request != request {
			t.Errorf("request %q: %v, want %v; %+v", request, got, want, g)
		}
	}
	names, err := n.claims.Devices(p, &v1.Container{Name: "ext"})
	if want := []string{gpus + "/dev=uid-ext-dev0", gpus + "/dev=uid-ext-common"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("extended resource: %q, %v; want %q", names, err, want)
	}
}

// TestDriversThatLie: an answer that leaves a claim out, or says nonsense, hurts that claim only; what else was prepared stays.
func TestDriversThatLie(t *testing.T) {
	for name, c := range map[string]struct {
		lie  func(*pb.NodePrepareResourcesResponse)
		want string
	}{
		"leaves it out": {func(r *pb.NodePrepareResourcesResponse) { delete(r.Claims, "uid-bad") }, "the driver has not answered about it"},
		"nil": {func(r *pb.NodePrepareResourcesResponse) {
			r.Claims["uid-bad"] = &pb.NodePrepareResourceResponse{Error: "no device"}
		}, "no device"},
		"no CDI name": {func(r *pb.NodePrepareResourcesResponse) {
			r.Claims["uid-bad"].Devices[0].CdiDeviceIds = []string{"/dev/x"}
		},
			`the driver calls device pool/dev0 "/dev/x", which is no name of a CDI device; one is such as vendor.com/class=device`},
		"another's": {func(r *pb.NodePrepareResourcesResponse) {
			delete(r.Claims, "uid-bad")
			r.Claims["uid-stranger"] = &pb.NodePrepareResourceResponse{}
		}, "the driver has not answered about it"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, 0)
			d := n.driver(gpus, dradriver.Options{})
			p := web("web", "bad", "good")
			n.claim("bad", []string{gpus}, p)
			n.claim("good", []string{gpus}, p)
			d.Lie(c.lie)
			want := "NodePrepareResources failed for ResourceClaim bad of driver " + gpus + ": " + c.want
			if err := n.claims.Prepare(t.Context(), p); err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
			d.Lie(nil)
			if err := n.claims.Prepare(t.Context(), p); err != nil {
				t.Error(err)
			}
			if calls := d.Calls("NodePrepareResources"); !slices.Equal(calls[1].Claims, []string{"bad"}) {
				t.Errorf("asked again about %v", calls[1].Claims)
			}
			if err := n.claims.Unprepare(t.Context(), p.UID); err != nil || n.left() > 0 {
				t.Errorf("%v, %d records left", err, n.left())
			}
		})
	}
}

// TestADriverThatHangs holds up its own claims only, and a pod that gives up gets away.
func TestADriverThatHangs(t *testing.T) {
	n := newNode(t, time.Minute)
	hung, well := n.driver(gpus, dradriver.Options{}), n.driver(nics, dradriver.Options{})
	release := hung.Hang("NodePrepareResources")
	one, two := web("one", "gpu", "nic"), web("two", "nic")
	n.claim("gpu", []string{gpus}, one)
	n.claim("nic", []string{nics}, one, two)
	ctx, giveUp := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.claims.Prepare(ctx, one) }()
	well.Await(t, "NodePrepareResources", 1)
	if err := n.claims.Prepare(t.Context(), two); err != nil || len(n.devices(two)) != 1 {
		t.Errorf("a pod with a claim of another driver: %v", err)
	}
	giveUp()
	if err := <-ended; err == nil {
		t.Error("a pod has claims of a driver that hangs")
	}
	release()
	if err := n.claims.Unprepare(t.Context(), one.UID); err != nil {
		t.Error(err)
	}
	if calls := hung.Calls("NodeUnprepareResources"); len(calls) != 1 || len(well.Prepared()) != 1 {
		t.Errorf("given back: %v; still prepared %v", calls, well.Prepared())
	}
	hung.Hang("NodePrepareResources")
	short := newNode(t, 50*time.Millisecond)
	if err := short.drivers.Register(t.Context(), gpus, hung.Socket, []string{"v1.DRAPlugin"}); err != nil {
		t.Fatal(err)
	}
	short.claim("gpu", []string{gpus}, one)
	err := short.claims.Prepare(t.Context(), web("one", "gpu"))
	if err == nil || !strings.Contains(err.Error(), "ResourceClaim gpu of driver "+gpus+": no answer within 50ms") {
		t.Errorf("error %v", err)
	}
}

// TestSharedClaims: a claim of several pods is prepared once, and given back when the last of them has ended; one that comes while it
// is given back has it prepared anew.
func TestSharedClaims(t *testing.T) {
	n := newNode(t, 0)
	d := n.driver(gpus, dradriver.Options{})
	var pods []*v1.Pod
	for i := range 8 {
		pods = append(pods, web(fmt.Sprint(i), "shared"))
	}
	n.claim("shared", []string{gpus}, pods...)
	var all sync.WaitGroup
	for _, p := range pods {
		all.Go(func() {
			if err := n.claims.Prepare(t.Context(), p); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if calls := d.Calls("NodePrepareResources"); len(calls) != 1 {
		t.Errorf("prepared %d times", len(calls))
	}
	for _, p := range pods[1:] {
		all.Go(func() {
			if err := n.claims.Unprepare(t.Context(), p.UID); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if calls := d.Calls("NodeUnprepareResources"); len(calls) > 0 {
		t.Errorf("given back while a pod uses it: %v", calls)
	}
	release := d.Hang("NodeUnprepareResources")
	last, next := make(chan error, 1), make(chan error, 1)
	go func() { last <- n.claims.Unprepare(t.Context(), pods[0].UID) }()
	n.await("the claim is being given back", func() bool { return n.asked() > 0 })
	reads := n.readTimes()
	go func() { next <- n.claims.Prepare(t.Context(), pods[1]) }()
	n.await("another pod comes for it", func() bool { return n.readTimes() > reads })
	release()
	if err := errors.Join(<-last, <-next); err != nil {
		t.Fatal(err)
	}
	if calls := d.Calls("NodePrepareResources"); len(calls) != 2 || len(d.Prepared()) != 1 || !slices.Equal(n.users(), []types.UID{"pod-1"}) {
		t.Errorf("prepared %d times, prepared is %v, users %v", len(calls), d.Prepared(), n.users())
	}
}

// TestCrashes: what was prepared before a crash is not asked for again, and what may have been is given back.
func TestCrashes(t *testing.T) {
	n := newNode(t, 0)
	d := n.driver(gpus, dradriver.Options{})
	p := web("web", "a")
	n.claim("a", []string{gpus}, p)
	if err := n.claims.Prepare(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	n.restart()
	n.mu.Lock()
	n.reads, n.objects = 0, nil // the API server is away
	n.mu.Unlock()
	if err := n.claims.Prepare(t.Context(), p); err != nil || len(n.devices(p)) != 1 || len(d.Calls("NodePrepareResources")) != 1 {
		t.Errorf("after a crash: %v, calls %v", err, d.Calls(""))
	}
	// Killed between the driver's answer and its being remembered.
	q := web("other", "b")
	n.objects = map[string]*resource.ResourceClaim{}
	n.claim("b", []string{gpus}, q)
	d.Lie(func(*pb.NodePrepareResourcesResponse) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.full = errors.New("killed")
	})
	if err := n.claims.Prepare(t.Context(), q); err == nil {
		t.Fatal("what cannot be remembered is prepared")
	}
	d.Lie(nil)
	n.full = nil
	n.restart()
	if err := n.claims.Unprepare(t.Context(), q.UID); err != nil || !slices.Equal(d.Prepared(), []string{"uid-a"}) {
		t.Errorf("%v; prepared is %v", err, d.Prepared())
	}
	// Another boot: the runtime has forgotten.
	n.boot = "boot-2"
	n.claim("a", []string{gpus}, p)
	n.restart()
	if _, err := n.claims.Devices(p, &p.Spec.Containers[0]); err == nil {
		t.Error("devices from before the machine was started")
	}
	if err := n.claims.Prepare(t.Context(), p); err != nil || len(d.Calls("NodePrepareResources")) != 3 {
		t.Errorf("after a reboot: %v, calls %v", err, d.Calls("NodePrepareResources"))
	}
	// What cannot be remembered is not begun.
	n.full = errors.New("disk full")
	r := web("third", "c")
	n.claim("c", []string{gpus}, r)
	if err := n.claims.Prepare(t.Context(), r); err == nil || len(d.Calls("NodePrepareResources")) != 3 {
		t.Errorf("error %v, calls %v", err, d.Calls("NodePrepareResources"))
	}
}

// TestGivingBackFails: it is owed until the driver has done it.
func TestGivingBackFails(t *testing.T) {
	n := newNode(t, 0)
	d := n.driver(gpus, dradriver.Options{})
	p := web("web", "a")
	n.claim("a", []string{gpus}, p)
	if err := n.claims.Prepare(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	d.Fail("NodeUnprepareResources", errors.New("busy"))
	if err := n.claims.Unprepare(t.Context(), p.UID); err == nil || !strings.Contains(err.Error(), "ResourceClaim a of driver "+gpus) {
		t.Errorf("error %v", err)
	}
	d.Fail("NodeUnprepareResources", nil)
	if err := n.drivers.Deregister(gpus, d.Socket); err != nil {
		t.Error(err)
	}
	want := "NodeUnprepareResources failed for ResourceClaim a: DRA driver " + gpus + " is not registered"
	if err := n.claims.Unprepare(t.Context(), p.UID); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	n.restart()
	if err := n.drivers.Register(t.Context(), gpus, d.Socket, []string{"v1.DRAPlugin"}); err != nil {
		t.Error(err)
	}
	if err := n.claims.Unprepare(t.Context(), p.UID); err != nil || len(d.Prepared())+n.left() > 0 {
		t.Errorf("%v; prepared %v, %d records", err, d.Prepared(), n.left())
	}
}

// TestAnotherClaimOfTheName: the claim that a pod was given is not exchanged under it.
func TestAnotherClaimOfTheName(t *testing.T) {
	n := newNode(t, 0)
	n.driver(gpus, dradriver.Options{})
	p := web("web", "a", "b")
	n.claim("a", []string{gpus}, p)
	n.claim("b", []string{"lost.example.com", gpus}, p)
	n.driver("lost.example.com", dradriver.Options{}).Fail("NodePrepareResources", errors.New("no"))
	if err := n.claims.Prepare(t.Context(), p); err == nil {
		t.Fatal("prepared")
	}
	n.claim("a", []string{gpus}, p).UID = "uid-new"
	if err := n.claims.Prepare(t.Context(), p); err == nil || !strings.Contains(err.Error(), "ResourceClaim a is another one (uid-new) than was prepared for the pod (uid-a)") {
		t.Errorf("error %v", err)
	}
}

// TestDamagedRecord: what cannot be read is named and forgotten.
func TestDamagedRecord(t *testing.T) {
	c, wrong := dra.New(dra.Config{}, map[string][]byte{"good": []byte(`{"uid":"good","pods":["p"]}`), "bad": []byte("{"), "other": []byte(`{"uid":"x"}`)})
	if pods, _ := c.Pods(); len(wrong) != 2 || !slices.Equal(pods, []types.UID{"p"}) {
		t.Errorf("%v; pods %v", wrong, pods)
	}
}

// TestCrashSweep ends the agent at each thing it remembers while a pod comes and goes, once before that is safe and once after it: in
// the end the pod can have its claims, and nothing stays of them.
func TestCrashSweep(t *testing.T) {
	for at := 1; ; at++ {
		saves := 0
		for _, lost := range []bool{true, false} {
			n := newNode(t, 0)
			gpu, nic := n.driver(gpus, dradriver.Options{}), n.driver(nics, dradriver.Options{})
			p, other := web("web", "a", "b"), web("other", "b")
			n.claim("a", []string{gpus, nics}, p)
			n.claim("b", []string{gpus}, p, other)
			n.crashAt(at, lost)
			life := func() error {
				for _, step := range []func() error{
					func() error { return n.claims.Prepare(t.Context(), p) },
					func() error { return n.claims.Prepare(t.Context(), other) },
					func() error { return n.claims.Unprepare(t.Context(), p.UID) },
				} {
					if err := step(); err != nil {
						return err
					}
				}
				return nil
			}
			died := life() != nil
			saves = n.crashAt(0, false)
			n.restart()
			if err := n.claims.Prepare(t.Context(), other); err != nil || len(n.devices(other)) != 1 {
				t.Errorf("crash at %d, lost %v: %v", at, lost, err)
			}
			if !slices.Contains(gpu.Prepared(), "uid-b") {
				t.Errorf("crash at %d, lost %v: the shared claim is not prepared", at, lost)
			}
			if died {
				if err := n.claims.Prepare(t.Context(), p); err != nil || len(n.devices(p)) != 3 {
					t.Errorf("crash at %d, lost %v: %v", at, lost, err)
				}
			}
			for _, uid := range []types.UID{p.UID, other.UID} {
				if err := n.claims.Unprepare(t.Context(), uid); err != nil {
					t.Errorf("crash at %d, lost %v: %v", at, lost, err)
				}
			}
			if left := slices.Concat(gpu.Prepared(), nic.Prepared()); len(left)+n.left() > 0 {
				t.Errorf("crash at %d, lost %v: prepared is %v, %d records", at, lost, left, n.left())
			}
		}
		if saves < at { // nothing was cut any more
			return
		}
	}
}
