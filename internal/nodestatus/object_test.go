package nodestatus

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/golden"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// facts are those of a node that is well.
func facts() Facts {
	cfg := &config.Config{}
	cfg.Kubelet.MaxPods = 110
	return Facts{
		Name: "node-1", OS: "linux", Arch: "amd64", AttachDetach: true, Addresses: []string{"192.0.2.7"},
		Room: RoomOf(machine(), cfg), Swap: 1 << 30, MachineID: "m1", SystemUUID: "s1", BootID: "b1", Kernel: "6.1.0", OSImage: "Debian GNU/Linux 12 (bookworm)",
		KubeletVersion: "v1.37.1", CgroupVersion: 2, Port: 10250, MostImages: 50,
		Runtime: Runtime{Asked: true, Name: "containerd", Version: "2.1.4", Up: true, NetworkReady: true, SupplementalGroupsPolicy: true,
			Handlers: []Handler{{Name: "runc", RecursiveReadOnlyMounts: true, UserNamespaces: true}, {Name: "", RecursiveReadOnlyMounts: true}}},
		Images: []Image{
			{Names: []string{"small@sha256:1", "small:1"}, Size: 10},
			{Names: []string{"large@sha256:2", "large:1", "large:2", "large:3", "large:4", "large:5"}, Size: 1000},
		},
		VolumesInUse: []v1.UniqueVolumeName{"b", "a"},
	}
}

func agreed(t *testing.T, file string, value any) {
	t.Helper()
	got, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	golden.File(t, file, got)
}

// TestObject holds behaviours 286 to 288, and 292 to 298 as they are in the first status.
func TestObject(t *testing.T) {
	agreed(t, "plain.yaml", Object(facts(), noon))

	cloud := facts()
	cloud.ExternalCloud, cloud.AddressesAsked, cloud.GivenIPs = true, true, []string{"192.0.2.7", "2001:db8::7"}
	cloud.Addresses = cloud.GivenIPs
	cloud.AttachDetach = false
	cloud.ProviderID = "cloud://zone/1"
	cloud.Labels = map[string]string{"node.kubernetes.io/role": "db", v1.LabelHostname: "other"}
	cloud.Taints = []v1.Taint{{Key: "dedicated", Value: "db", Effect: v1.TaintEffectNoExecute}}
	cloud.Runtime = Runtime{}
	cloud.Images, cloud.VolumesInUse, cloud.Swap = nil, nil, 0
	agreed(t, "cloud.yaml", Object(cloud, noon))
}

func TestObjectOfALongName(t *testing.T) { // a label holds 63 characters, a name 253
	f := facts()
	f.Name = strings.Repeat("a", 60) + "." + strings.Repeat("b", 60)
	if got, ok := Object(f, noon).Labels[v1.LabelHostname]; ok {
		t.Errorf("the API server would refuse the label %q", got)
	}
}

func TestObjectTaintedByHand(t *testing.T) { // 287, and the taint is not there twice
	f := facts()
	f.ExternalCloud = true
	f.Taints = []v1.Taint{{Key: uninitialized, Value: "yes", Effect: v1.TaintEffectNoSchedule}}
	if got := Object(f, noon).Spec.Taints; len(got) != 1 {
		t.Errorf("taints %v", got)
	}
}

// TestAdopt holds behaviours 285 and 288 for a Node object that is there already.
func TestAdopt(t *testing.T) {
	for name, c := range map[string]struct {
		facts func(*Facts)
		node  func(*v1.Node)
		want  string
	}{
		"285 as it should be": {want: ""},
		"285 default labels": {
			node: func(n *v1.Node) {
				delete(n.Labels, v1.LabelOSStable)
				n.Labels[v1.LabelHostname] = "else"
				n.Labels["mine"] = "stays"
			},
			want: `{"metadata":{"labels":{"kubernetes.io/hostname":"node-1","kubernetes.io/os":"linux"},"uid":"u1"}}`,
		},
		"285 zone and instance type are default labels, others and taints are not": {
			facts: func(f *Facts) {
				f.Labels = map[string]string{v1.LabelTopologyZone: "z", v1.LabelInstanceTypeStable: "big", "node.kubernetes.io/role": "db"}
				f.Taints = []v1.Taint{{Key: "dedicated", Effect: v1.TaintEffectNoExecute}}
			},
			want: `{"metadata":{"labels":{"node.kubernetes.io/instance-type":"big","topology.kubernetes.io/zone":"z"},"uid":"u1"}}`,
		},
		"285 labels that a cloud has set stay": {
			node: func(n *v1.Node) { n.Labels[v1.LabelTopologyZone] = "z" },
			want: "",
		},
		"288 attach and detach no longer by the controller": {
			facts: func(f *Facts) { f.AttachDetach = false },
			want:  `{"metadata":{"annotations":{"volumes.kubernetes.io/controller-managed-attach-detach":null},"uid":"u1"}}`,
		},
		"288 provided IP": {
			facts: func(f *Facts) { f.ExternalCloud, f.GivenIPs = true, []string{"192.0.2.7"} },
			want:  `{"metadata":{"annotations":{"alpha.kubernetes.io/provided-node-ip":"192.0.2.7"},"uid":"u1"}}`,
		},
		"288 no longer provided": {
			node: func(n *v1.Node) { n.Annotations[providedIP] = "192.0.2.9"; n.Annotations["mine"] = "stays" },
			want: `{"metadata":{"annotations":{"alpha.kubernetes.io/provided-node-ip":null},"uid":"u1"}}`,
		},
		"285 another provider id": {
			facts: func(f *Facts) { f.ProviderID = "cloud://2" },
			node:  func(n *v1.Node) { n.Spec.ProviderID = "cloud://1" },
			want:  "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, n := facts(), Object(facts(), noon)
			n.UID = "u1"
			if c.facts != nil {
				c.facts(&f)
			}
			if c.node != nil {
				c.node(n)
			}
			patch, err := Adopt(n, f)
			if diff := cmp.Diff(c.want, string(patch)); diff != "" || err != nil {
				t.Fatal(err, diff)
			}
			if patch == nil {
				return
			}
			if again, err := Adopt(patched(t, n, patch), f); again != nil || err != nil {
				t.Errorf("once adopted, it still wants %s, %v", again, err)
			}
		})
	}
}

// patched is what an API server makes of an object and a strategic merge patch.
func patched(t *testing.T, n *v1.Node, patch []byte) *v1.Node {
	t.Helper()
	was, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	is, err := strategicpatch.StrategicMergePatch(was, patch, v1.Node{})
	if err != nil {
		t.Fatalf("%v in %s", err, patch)
	}
	out := &v1.Node{}
	if err := json.Unmarshal(is, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPatchIsForOneObjectOnly(t *testing.T) {
	n := &v1.Node{ObjectMeta: metav1.ObjectMeta{UID: "u1"}}
	patch, err := Adopt(n, facts())
	if err != nil || !strings.Contains(string(patch), `"uid":"u1"`) {
		t.Errorf("%s, %v", patch, err)
	}
}
