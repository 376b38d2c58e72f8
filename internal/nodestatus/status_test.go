package nodestatus

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/bosun-project/bosun/internal/config"
)

func TestReady(t *testing.T) {
	const network = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized"
	for name, c := range map[string]struct {
		facts func(*Facts)
		want  string
	}{
		"292 ready":         {func(*Facts) {}, "true KubeletReady kubelet is posting ready status"},
		"292 not asked yet": {func(f *Facts) { f.Runtime = Runtime{} }, "false KubeletNotReady container runtime status check may not have completed yet"},
		"292 network":       {func(f *Facts) { f.Runtime.NetworkReady, f.Runtime.NetworkMessage = false, network }, "false KubeletNotReady " + network},
		"292 down, said once": {func(f *Facts) {
			f.Runtime = Runtime{Asked: true, Message: "container runtime is down: x", NetworkMessage: "container runtime is down: x"}
		}, "false KubeletNotReady container runtime is down: x"},
		"292 joined": {func(f *Facts) {
			f.Runtime.Up, f.Runtime.Message, f.ShuttingDown = false, "container runtime is down", true
		}, "false KubeletNotReady [container runtime is down, node is shutting down]"},
		"292 listing":               {func(f *Facts) { f.StaleListing = "nothing was listed since noon" }, "false KubeletNotReady PLEG is not healthy: nothing was listed since noon"},
		"292 volumes":               {func(f *Facts) { f.StorageError = "CSINode is not yet initialized" }, "false KubeletNotReady CSINode is not yet initialized"},
		"292 cgroups":               {func(f *Facts) { f.CgroupsError = "cgroups of pods cannot be made: x" }, "false KubeletNotReady cgroups of pods cannot be made: x"},
		"292 missing capacity":      {func(f *Facts) { delete(f.Room.Capacity, v1.ResourceEphemeralStorage) }, "false KubeletNotReady missing node capacity for resources: ephemeral-storage"},
		"292 local storage not met": {func(f *Facts) { delete(f.Room.Capacity, v1.ResourceEphemeralStorage); f.NoLocalStorage = true }, "true KubeletReady kubelet is posting ready status"},
		"292 nothing known":         {func(f *Facts) { *f = Facts{} }, "false KubeletNotReady [container runtime status check may not have completed yet, missing node capacity for resources: cpu, memory, pods, ephemeral-storage]"},
		"down without words":        {func(f *Facts) { f.Runtime = Runtime{Asked: true} }, "false KubeletNotReady [container runtime is down, container runtime network not ready]"},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			c.facts(&f)
			ok, why, message := Ready(f)
			if diff := cmp.Diff(c.want, fmt.Sprint(ok, " ", why, " ", message)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func told(c v1.NodeCondition) string {
	return fmt.Sprintf("%s=%s %s since %s at %s", c.Type, c.Status, c.Reason, c.LastTransitionTime.UTC().Format(time.TimeOnly), c.LastHeartbeatTime.UTC().Format(time.TimeOnly))
}

// TestConditions holds behaviour 293 and the times of conditions.
func TestConditions(t *testing.T) {
	first := Status(v1.NodeStatus{}, facts(), noon)
	first.Conditions = append([]v1.NodeCondition{{Type: v1.NodeNetworkUnavailable, Status: v1.ConditionFalse, Reason: "RouteCreated"}}, first.Conditions...)
	for name, c := range map[string]struct {
		facts func(*Facts)
		after time.Duration
		want  []string
	}{
		"293 all well": {func(*Facts) {}, time.Minute, []string{
			"MemoryPressure=False KubeletHasSufficientMemory since 12:00:00 at 12:01:00", "DiskPressure=False KubeletHasNoDiskPressure since 12:00:00 at 12:01:00",
			"PIDPressure=False KubeletHasSufficientPID since 12:00:00 at 12:01:00", "Ready=True KubeletReady since 12:00:00 at 12:01:00",
		}},
		"293 all pressed": {func(f *Facts) {
			f.MemoryPressure, f.DiskPressure, f.PIDPressure, f.ShuttingDown = true, true, true, true
		}, time.Minute, []string{
			"MemoryPressure=True KubeletHasInsufficientMemory since 12:01:00 at 12:01:00", "DiskPressure=True KubeletHasDiskPressure since 12:01:00 at 12:01:00",
			"PIDPressure=True KubeletHasInsufficientPID since 12:01:00 at 12:01:00", "Ready=False KubeletNotReady since 12:01:00 at 12:01:00",
		}},
		"a clock that was set back": {func(*Facts) {}, -time.Hour, []string{
			"MemoryPressure=False KubeletHasSufficientMemory since 12:00:00 at 11:00:00", "DiskPressure=False KubeletHasNoDiskPressure since 12:00:00 at 11:00:00",
			"PIDPressure=False KubeletHasSufficientPID since 12:00:00 at 11:00:00", "Ready=True KubeletReady since 12:00:00 at 11:00:00",
		}},
		"the agent has just started": {func(f *Facts) { f.Runtime = Runtime{} }, time.Minute, []string{
			"MemoryPressure=False KubeletHasSufficientMemory since 12:00:00 at 12:01:00", "DiskPressure=False KubeletHasNoDiskPressure since 12:00:00 at 12:01:00",
			"PIDPressure=False KubeletHasSufficientPID since 12:00:00 at 12:01:00", "Ready=True KubeletReady since 12:00:00 at 12:01:00",
		}},
		"the machine has just started": {func(f *Facts) { f.Runtime, f.BootID = Runtime{}, "b2" }, time.Minute, []string{
			"MemoryPressure=False KubeletHasSufficientMemory since 12:00:00 at 12:01:00", "DiskPressure=False KubeletHasNoDiskPressure since 12:00:00 at 12:01:00",
			"PIDPressure=False KubeletHasSufficientPID since 12:00:00 at 12:01:00", "Ready=False KubeletNotReady since 12:01:00 at 12:01:00",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			c.facts(&f)
			next := Status(first, f, noon.Add(c.after))
			if diff := cmp.Diff(first.Conditions[0], next.Conditions[0]); diff != "" {
				t.Error("a condition of another writer was changed", diff)
			}
			var got []string
			for _, c := range next.Conditions[1:] {
				got = append(got, told(c))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestResources: what others advertise stays, what the node measures is its own (behaviours 285, 304).
func TestResources(t *testing.T) {
	q := resource.MustParse
	previous := Status(v1.NodeStatus{}, facts(), noon)
	for name, amount := range map[v1.ResourceName]string{"example.com/gpu": "2", "hugepages-1Gi": "1Gi", "attachable-volumes-x": "39", PIDs: "5"} {
		previous.Capacity[name] = q(amount)
	}
	previous.Allocatable["example.com/gpu"], previous.Allocatable["hugepages-1Gi"] = q("1"), q("1Gi")
	for name, c := range map[string]struct {
		facts func(*Facts)
		want  map[string]string
	}{
		"extended resources stay": {func(*Facts) {}, map[string]string{
			"cpu": "4", "memory": "8Gi", "ephemeral-storage": "100Gi", "pods": "110", "example.com/gpu": "2", "attachable-volumes-x": "39",
		}},
		"304 after a reboot": {func(f *Facts) { f.BootID = "b2" }, map[string]string{
			"cpu": "4", "memory": "8Gi", "ephemeral-storage": "100Gi", "pods": "110", "example.com/gpu": "0", "attachable-volumes-x": "39",
		}},
		"storage no longer counted": {func(f *Facts) {
			delete(f.Room.Capacity, v1.ResourceEphemeralStorage)
			delete(f.Room.Allocatable, v1.ResourceEphemeralStorage)
		}, map[string]string{"cpu": "4", "memory": "8Gi", "pods": "110", "example.com/gpu": "2", "attachable-volumes-x": "39"}},
		"huge pages of another size": {func(f *Facts) {
			m, cfg := machine(), &config.Config{}
			m.HugePages = map[int64]int64{2 << 20: 1 << 30}
			cfg.Kubelet.MaxPods = 110
			f.Room = RoomOf(m, cfg)
		}, map[string]string{
			"cpu": "4", "memory": "7Gi", "ephemeral-storage": "100Gi", "pods": "110", "hugepages-2Mi": "1Gi", "example.com/gpu": "2", "attachable-volumes-x": "39",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			c.facts(&f)
			next := Status(previous, f, noon)
			if diff := cmp.Diff(c.want, written(next.Allocatable)); diff != "" {
				t.Error(diff)
			}
			if _, ok := f.Room.Capacity[PIDs]; !ok {
				t.Error("the facts were changed")
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	old := []v1.NodeAddress{{Type: v1.NodeExternalIP, Address: "198.51.100.1"}}
	for name, c := range map[string]struct {
		previous []v1.NodeAddress
		facts    func(*Facts)
		want     string
	}{
		"295 one":                                {old, func(*Facts) {}, "InternalIP=192.0.2.7 Hostname=node-1"},
		"295 two families":                       {nil, func(f *Facts) { f.Addresses = []string{"2001:db8::1", "192.0.2.7"} }, "InternalIP=2001:db8::1 InternalIP=192.0.2.7 Hostname=node-1"},
		"295 a cloud has set them":               {old, func(f *Facts) { f.ExternalCloud, f.AddressesAsked = true, true }, "ExternalIP=198.51.100.1"},
		"295 a cloud will set them":              {nil, func(f *Facts) { f.ExternalCloud = true }, ""},
		"295 a cloud will set them, and ours do": {nil, func(f *Facts) { f.ExternalCloud, f.AddressesAsked = true, true }, "InternalIP=192.0.2.7 Hostname=node-1"},
		"295 none known":                         {nil, func(f *Facts) { f.Addresses = nil }, "Hostname=node-1"},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			c.facts(&f)
			var got []string
			for _, a := range Status(v1.NodeStatus{Addresses: c.previous}, f, noon).Addresses {
				got = append(got, string(a.Type)+"="+a.Address)
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestImages(t *testing.T) { // behaviours 168, 297
	var all []Image
	for i := range 60 {
		all = append(all, Image{Names: []string{fmt.Sprint("i", i)}, Size: int64(i)})
	}
	for _, c := range []struct{ most, want int }{{50, 50}, {-1, 60}, {0, 0}, {100, 60}} {
		f := facts()
		f.Images, f.MostImages = all, c.most
		got := Status(v1.NodeStatus{}, f, noon).Images
		if len(got) != c.want || len(got) > 0 && got[0].SizeBytes != 59 {
			t.Errorf("nodeStatusMaxImages %d: %d images, want %d", c.most, len(got), c.want)
		}
	}
}

// TestRuntimeNotHeardOfYet: what it told before stays until it speaks.
func TestRuntimeNotHeardOfYet(t *testing.T) {
	previous := Status(v1.NodeStatus{}, facts(), noon)
	f := facts()
	f.Runtime = Runtime{}
	if next := Status(previous, f, noon); NeedOf(previous, next) != Nothing {
		t.Error(cmp.Diff(previous, next))
	}
}

// TestOthersStay: volumesAttached and config are not the node's.
func TestOthersStay(t *testing.T) {
	previous := v1.NodeStatus{
		VolumesAttached: []v1.AttachedVolume{{Name: "v", DevicePath: "/dev/v"}},
		Config:          &v1.NodeConfigStatus{Error: "x"},
		Phase:           v1.NodeRunning,
	}
	next := Status(previous, facts(), noon)
	if len(next.VolumesAttached) != 1 || next.Config == nil || next.Phase != v1.NodeRunning {
		t.Errorf("%+v", next)
	}
}

func TestNeed(t *testing.T) {
	for name, c := range map[string]struct {
		facts func(*Facts)
		want  Need
	}{
		"nothing":        {func(*Facts) {}, Nothing},
		"image":          {func(f *Facts) { f.Images = f.Images[:1] }, Later},
		"volume":         {func(f *Facts) { f.VolumesInUse = nil }, Soon},
		"image + volume": {func(f *Facts) { f.Images, f.VolumesInUse = nil, nil }, Soon},
		"address":        {func(f *Facts) { f.Addresses = []string{"192.0.2.8"} }, Soon},
		"message":        {func(f *Facts) { f.Runtime.Handlers = nil }, Soon},
		"ready":          {func(f *Facts) { f.ShuttingDown = true }, AtOnce},
		"pressure":       {func(f *Facts) { f.DiskPressure = true }, AtOnce},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			previous := Status(v1.NodeStatus{}, f, noon)
			c.facts(&f)
			next := Status(previous, f, noon.Add(time.Minute))
			if got := NeedOf(previous, next); got != c.want {
				t.Errorf("need %d, want %d", got, c.want)
			}
		})
	}
	if NeedOf(v1.NodeStatus{}, Status(v1.NodeStatus{}, facts(), noon)) != AtOnce {
		t.Error("a first status can wait")
	}
	marked := Status(v1.NodeStatus{}, facts(), noon)
	marked.Conditions[3].Status = v1.ConditionUnknown
	if NeedOf(marked, Status(marked, facts(), noon)) != AtOnce {
		t.Error("a node that the controller has given up can wait")
	}
}

// TestPatch: what an API server makes of a patch is the status that was meant, whatever the one before; and what others
// wrote since is left alone.
func TestPatch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	chance := func() bool { return random.IntN(2) == 0 }
	status := func() v1.NodeStatus {
		f := facts()
		if chance() {
			f.Runtime.NetworkReady = false
		}
		if chance() {
			f.Images = f.Images[random.IntN(3):]
		}
		if chance() {
			f.Addresses = append(f.Addresses, "2001:db8::1")
		}
		if chance() {
			f.Addresses = []string{"192.0.2.99"}
		}
		if chance() {
			f.VolumesInUse = nil
		}
		if chance() {
			f.Swap, f.BootID = 0, "b2"
		}
		if chance() {
			f.Runtime.Handlers = f.Runtime.Handlers[:1]
			f.InUserNamespace = ptr.To(chance())
		}
		if chance() {
			f.DeclaredFeatures = []string{"A", "B"}
		}
		if chance() {
			f.Port = 10251
			f.Room.Capacity = v1.ResourceList{v1.ResourceCPU: resource.MustParse("3"), "hugepages-2Mi": resource.MustParse("0")}
			f.Room.Allocatable = f.Room.Capacity
		}
		s := Status(v1.NodeStatus{}, f, noon.Add(time.Duration(random.IntN(3))*time.Minute))
		if chance() {
			s.Features, s.RuntimeHandlers = nil, nil
		}
		return s
	}
	for range 500 {
		previous, next := status(), status()
		if chance() {
			previous = v1.NodeStatus{}
		}
		n := &v1.Node{Status: *previous.DeepCopy()}
		n.UID = "u1"
		foreign := v1.NodeCondition{Type: v1.NodeNetworkUnavailable, Status: v1.ConditionFalse}
		n.Status.Conditions = append(n.Status.Conditions, foreign)
		n.Status.VolumesAttached = []v1.AttachedVolume{{Name: "v"}}
		patch, err := Patch(n.UID, previous, next)
		if err != nil {
			t.Fatal(err)
		}
		got := patched(t, n, patch)
		if find(got.Status.Conditions, foreign.Type).Status != v1.ConditionFalse || len(got.Status.VolumesAttached) != 1 {
			t.Fatalf("%s\nchanged what is not the node's: %+v", patch, got.Status)
		}
		sorted := v1.NodeStatus{}
		for _, kind := range ownConditions {
			sorted.Conditions = append(sorted.Conditions, find(got.Status.Conditions, kind))
		}
		got.Status.Conditions, got.Status.VolumesAttached = sorted.Conditions, nil
		if !equality.Semantic.DeepEqual(next, got.Status) {
			t.Fatalf("%s\n%s", patch, cmp.Diff(next, got.Status))
		}
	}
}

// TestPatchIsSmall: a heartbeat is conditions and nothing else.
func TestPatchIsSmall(t *testing.T) {
	s := Status(v1.NodeStatus{}, facts(), noon)
	patch, err := Patch("u1", s, Status(s, facts(), noon.Add(time.Minute)))
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"images", "capacity", "addresses", "nodeInfo", "volumesInUse", "runtimeHandlers", "features", "daemonEndpoints"} {
		if strings.Contains(string(patch), `"`+field+`"`) {
			t.Errorf("%s did not change: %s", field, patch)
		}
	}
}

func TestNotes(t *testing.T) { // behaviour 294
	well := Status(v1.NodeStatus{}, facts(), noon)
	for name, c := range map[string]struct {
		previous v1.NodeStatus
		facts    func(*Facts)
		want     []string
	}{
		"a new node": {v1.NodeStatus{}, func(f *Facts) { f.Runtime = Runtime{} }, []string{
			"Normal NodeHasSufficientMemory Node node-1 status is now: NodeHasSufficientMemory",
			"Normal NodeHasNoDiskPressure Node node-1 status is now: NodeHasNoDiskPressure",
			"Normal NodeHasSufficientPID Node node-1 status is now: NodeHasSufficientPID",
		}},
		"nothing new": {well, func(*Facts) {}, nil},
		"all turn": {well, func(f *Facts) {
			f.MemoryPressure, f.DiskPressure, f.PIDPressure, f.ShuttingDown = true, true, true, true
		}, []string{
			"Normal NodeHasInsufficientMemory Node node-1 status is now: NodeHasInsufficientMemory",
			"Normal NodeHasDiskPressure Node node-1 status is now: NodeHasDiskPressure",
			"Normal NodeHasInsufficientPID Node node-1 status is now: NodeHasInsufficientPID",
			"Normal NodeNotReady Node node-1 status is now: NodeNotReady",
		}},
		"reboot": {well, func(f *Facts) { f.BootID = "b2" }, []string{"Warning Rebooted Node node-1 has been rebooted, boot id: b2"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts()
			c.facts(&f)
			var got []string
			for _, n := range Notes(f.Name, c.previous, Status(c.previous, f, noon), noon) {
				if n.About.Kind != "Node" || n.About.Name != "node-1" || !n.At.Equal(noon) {
					t.Errorf("%+v", n)
				}
				got = append(got, fmt.Sprint(n.Level, " ", n.Reason, " ", n.Message))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := Notes("n", v1.NodeStatus{}, well, noon); got[len(got)-1].Reason != "NodeReady" {
		t.Errorf("a node that is ready from the start: %v", got)
	}
}
