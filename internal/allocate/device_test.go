package allocate_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/allocate"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// container reads "init app gpu=2 nic=1"; the first word is init, sidecar or app.
func container(t *testing.T, p *v1.Pod, text string) {
	t.Helper()
	words := strings.Fields(text)
	c := v1.Container{Name: words[1], Resources: v1.ResourceRequirements{Limits: v1.ResourceList{"cpu": resource.MustParse("1")}}}
	for _, w := range words[2:] {
		name, n, _ := strings.Cut(w, "=")
		c.Resources.Limits[v1.ResourceName("example.com/"+name)] = resource.MustParse(n)
	}
	always := v1.ContainerRestartPolicyAlways
	switch words[0] {
	case "sidecar":
		c.RestartPolicy = &always
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	case "init":
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	default:
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
}

func podOf(t *testing.T, containers string) *v1.Pod {
	t.Helper()
	p := &v1.Pod{}
	for line := range strings.SplitSeq(containers, ";") {
		container(t, p, line)
	}
	return p
}

// assign chooses the devices of all containers of a pod.
func assign(p *v1.Pod, n allocate.DeviceNode) (map[string]allocate.Part, *allocate.Obstacle) {
	a, no := allocate.Place(p, nil, n.Held, allocate.ChooseDevices(n))
	if a == nil {
		return nil, no
	}
	return a.Containers, no
}

// serving is a supply of devices: "a b c!" has c ill.
func serving(ids string) allocate.Supply {
	s := allocate.Supply{Serving: true, Ever: true, Serial: 1, Devices: map[string]allocate.Device{}}
	for _, id := range strings.Fields(ids) {
		name, ill := strings.CutSuffix(id, "!")
		s.Devices[name] = allocate.Device{Healthy: !ill}
	}
	return s
}

func tell(parts map[string]allocate.Part) string {
	var out []string
	for name, part := range parts {
		for res, ids := range part.Devices {
			out = append(out, name+" "+strings.TrimPrefix(res, "example.com/")+"="+strings.Join(ids, ","))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func TestAssignDevices(t *testing.T) {
	away := allocate.Supply{Why: "it has gone", Ever: true, Until: noon.Add(time.Minute), Devices: map[string]allocate.Device{"a": {}}}
	over := away
	over.Until = noon
	never := allocate.Supply{Why: "it has not registered", Until: noon.Add(time.Minute)}
	late := never
	late.Until = noon
	held := []*allocate.Assigned{nil, {Containers: map[string]allocate.Part{"x": {Devices: map[string][]string{"example.com/gpu": {"a"}}}}}}
	for name, c := range map[string]struct {
		pod     string
		supply  allocate.Supply
		held    []*allocate.Assigned
		patient bool
		want    string
	}{
		"238 the first that are free": {"app c gpu=2", serving("c b a"), nil, false, "c gpu=a,b"},
		"238 not those of others":     {"app c gpu=1", serving("a b"), held, false, "c gpu=b"},
		"238 not those that are ill":  {"app c gpu=1", serving("a! b"), nil, false, "c gpu=b"},
		"each container its own":      {"app c gpu=1;app d gpu=1", serving("a b"), nil, false, "c gpu=a; d gpu=b"},
		"none asked for":              {"app c", serving("a"), nil, false, ""},
		"nobody's resource":           {"app c other=3", serving("a"), nil, false, ""},
		"init containers hand on":     {"init i gpu=2;init j gpu=1;app c gpu=1;app d gpu=1", serving("a b"), nil, false, "c gpu=a; d gpu=b; i gpu=a,b; j gpu=a"},
		"sidecars do not":             {"init i gpu=1;sidecar s gpu=1;app c gpu=1", serving("a b"), nil, false, "c gpu=b; i gpu=a; s gpu=a"},
		"sidecars do not, and so none is left": {"sidecar s gpu=1;app c gpu=1", serving("a"), nil, false,
			"UnexpectedAdmissionError: Allocate failed due to requested number of devices unavailable for example.com/gpu. Requested: 1, Available: 0, which is unexpected"},
		"40 too few": {"app c gpu=3", serving("a b! c"), nil, false,
			"UnexpectedAdmissionError: Allocate failed due to requested number of devices unavailable for example.com/gpu. Requested: 3, Available: 2, which is unexpected"},
		"40 none is well": {"app c gpu=1", serving("a!"), nil, false,
			"UnexpectedAdmissionError: Allocate failed due to no healthy devices present; cannot allocate unhealthy devices example.com/gpu, which is unexpected"},
		"none is well, for a static pod": {"app c gpu=1", serving("a!"), nil, true, "wait for healthy devices of example.com/gpu"},
		"its plugin has gone":            {"app c gpu=1", away, nil, false, "wait for device plugin of example.com/gpu until 12:01"},
		"its plugin has gone for long": {"app c gpu=1", over, nil, false,
			"UnexpectedAdmissionError: Allocate failed due to no healthy devices present; cannot allocate unhealthy devices example.com/gpu, which is unexpected"},
		"its plugin is late":      {"app c gpu=1", never, nil, false, "wait for device plugin of example.com/gpu until 12:01"},
		"its plugin is too late":  {"app c gpu=1", late, nil, false, "UnexpectedAdmissionError: Allocate failed due to cannot allocate unregistered device example.com/gpu, which is unexpected"},
		"a static pod is patient": {"app c gpu=1", late, nil, true, "wait for device plugin of example.com/gpu"},
	} {
		t.Run(name, func(t *testing.T) {
			n := allocate.DeviceNode{Supplies: allocate.Supplies{Known: map[string]allocate.Supply{"example.com/gpu": c.supply}}, Held: c.held, Patient: c.patient, Now: noon}
			parts, no := assign(podOf(t, c.pod), n)
			got := tell(parts)
			switch {
			case no != nil && no.Reason != "":
				got = no.Reason + ": " + no.Message
			case no != nil:
				got = "wait for " + no.For
				if !no.Until.IsZero() {
					got += " until " + no.Until.Format("15:04")
				}
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestUnknownResources(t *testing.T) {
	p := podOf(t, "app c gpu=1")
	if parts, no := assign(p, allocate.DeviceNode{Now: noon}); parts != nil || no != nil {
		t.Errorf("34: a resource that is somebody else's: %v, %v", parts, no)
	}
	alone := allocate.Supplies{Unknown: &allocate.Supply{Until: noon.Add(time.Second)}}
	if _, no := assign(p, allocate.DeviceNode{Supplies: alone, Now: noon}); no == nil || no.For != "device plugin of example.com/gpu" {
		t.Errorf("a resource that only a plugin can bring: %v", no)
	}
	native := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Resources: v1.ResourceRequirements{Limits: v1.ResourceList{
		"memory": resource.MustParse("1"), "kubernetes.io/x": resource.MustParse("1"), "a.kubernetes.io/x": resource.MustParse("1"), "hugepages-2Mi": resource.MustParse("1"),
	}}}}}}
	if parts, no := assign(native, allocate.DeviceNode{Supplies: alone, Now: noon}); parts != nil || no != nil {
		t.Errorf("Kubernetes' own resources are no devices: %v, %v", parts, no)
	}
}

func TestPreferences(t *testing.T) {
	s := serving("a b c d")
	s.Prefers = true
	supplies := allocate.Supplies{Known: map[string]allocate.Supply{"example.com/gpu": s}}
	for name, c := range map[string]struct {
		pod      string
		wish     []string
		answered bool
		want     string
	}{
		"239 as the plugin wishes":          {"app c gpu=2", []string{"d", "b"}, true, "c gpu=b,d"},
		"too few":                           {"app c gpu=2", []string{"c"}, true, "c gpu=a,c"},
		"too many":                          {"app c gpu=1", []string{"c", "b"}, true, "c gpu=c"},
		"made up, and twice":                {"app c gpu=2", []string{"x", "d", "d"}, true, "c gpu=a,d"},
		"no wish":                           {"app c gpu=2", nil, true, "c gpu=a,b"},
		"not answered yet":                  {"app c gpu=2", nil, false, "wait for device plugin of example.com/gpu"},
		"no choice":                         {"app c gpu=4", []string{"x"}, false, "c gpu=a,b,c,d"},
		"what an init container had is had": {"init i gpu=1;app c gpu=2", []string{"d"}, true, "c gpu=d; i gpu=d"},
	} {
		t.Run(name, func(t *testing.T) {
			var last allocate.Question
			n := allocate.DeviceNode{Supplies: supplies, Now: noon, Prefer: func(q allocate.Question) ([]string, bool) {
				last = q
				return c.wish, c.answered
			}}
			parts, no := assign(podOf(t, c.pod), n)
			got := tell(parts)
			if no != nil {
				got = "wait for " + no.For
			}
			if name == "what an init container had is had" {
				if want := (allocate.Question{Resource: "example.com/gpu", Available: []string{"a", "b", "c", "d"}, Must: []string{"d"}, Size: 2}); !reflect.DeepEqual(last, want) {
					t.Errorf("asked %+v, want %+v", last, want)
				}
				c.want = "c gpu=a,d; i gpu=d"
			}
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestDevicesNearAPlace(t *testing.T) {
	s := allocate.Supply{Serving: true, Devices: map[string]allocate.Device{}}
	for i, id := range []string{"a", "b", "c", "d"} {
		s.Devices[id] = allocate.Device{Healthy: true, Nodes: allocate.NodesOf(i / 2)}
	}
	n := allocate.DeviceNode{Supplies: allocate.Supplies{Known: map[string]allocate.Supply{"example.com/gpu": s}}, Now: noon,
		Held: []*allocate.Assigned{{Containers: map[string]allocate.Part{"x": {Devices: map[string][]string{"example.com/gpu": {"a"}}}}}}}
	p := podOf(t, "app c gpu=2")
	choice := allocate.ChooseDevices(n)
	want := []allocate.Offer{{Resource: "example.com/gpu", Hints: []allocate.Hint{
		{Nodes: allocate.NodesOf(1), Preferred: true}, {Nodes: allocate.NodesOf(0, 1)},
	}}}
	if got := choice.Offers(&p.Spec.Containers[0], allocate.NodesOf(0, 1)); !reflect.DeepEqual(got, want) {
		t.Errorf("236: offers %+v, want %+v", got, want)
	}
	if got, _ := choice.Take(p, &p.Spec.Containers[0], allocate.Hint{Nodes: allocate.NodesOf(1)}); !reflect.DeepEqual(got["example.com/gpu"], []string{"c", "d"}) {
		t.Errorf("near node 1: %v", got)
	}
	if got, _ := allocate.ChooseDevices(n).Take(p, &p.Spec.Containers[0], allocate.Hint{Nodes: allocate.NodesOf(0)}); !reflect.DeepEqual(got["example.com/gpu"], []string{"b", "c"}) {
		t.Errorf("as near to node 0 as can be: %v", got)
	}
	s.Devices["e"] = allocate.Device{Healthy: true}
	if got := allocate.ChooseDevices(n).Offers(&p.Spec.Containers[0], allocate.NodesOf(0, 1)); !reflect.DeepEqual(got, []allocate.Offer{allocate.Anywhere("example.com/gpu")}) {
		t.Errorf("a device that may be anywhere: %+v", got)
	}
}

// TestAssignAnything: whatever pods ask for, no device is given that another pod has, that is ill or not there; and none twice in one pod
// to containers that run at the same time.
func TestAssignAnything(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 3000 {
		s := allocate.Supply{Serving: true, Prefers: r.IntN(2) == 0, Devices: map[string]allocate.Device{}}
		for i := range r.IntN(8) {
			s.Devices[fmt.Sprint(i)] = allocate.Device{Healthy: r.IntN(4) > 0, Nodes: allocate.Nodes(r.IntN(4))}
		}
		n := allocate.DeviceNode{Supplies: allocate.Supplies{Known: map[string]allocate.Supply{"example.com/gpu": s}}, Now: noon,
			Prefer: func(allocate.Question) ([]string, bool) {
				return []string{fmt.Sprint(r.IntN(9)), "x", fmt.Sprint(r.IntN(9))}, r.IntN(3) > 0
			}}
		owner := map[string]int{}
		for i := range 6 {
			var containers []string
			for j := range 1 + r.IntN(4) {
				containers = append(containers, fmt.Sprintf("%s c%d gpu=%d", []string{"init", "sidecar", "app"}[r.IntN(3)], j, r.IntN(3)))
			}
			p := podOf(t, strings.Join(containers, ";"))
			parts, no := assign(p, n)
			if no != nil {
				continue
			}
			together := map[string]bool{}
			for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
				for _, c := range list {
					ids := parts[c.Name].Devices["example.com/gpu"]
					if q := c.Resources.Limits["example.com/gpu"]; len(ids) != int(q.Value()) {
						t.Fatalf("%s has %v, asked for %s", c.Name, ids, q.String())
					}
					plain := c.RestartPolicy == nil && slices.ContainsFunc(p.Spec.InitContainers, func(o v1.Container) bool { return o.Name == c.Name })
					for _, id := range ids {
						if !s.Devices[id].Healthy {
							t.Fatalf("%s has %s, which is not there or ill", c.Name, id)
						}
						if other, taken := owner[id]; taken && other != i || together[id] {
							t.Fatalf("%s of pod %d has %s, which somebody else has: %v", c.Name, i, id, parts)
						}
						owner[id] = i
						together[id] = together[id] || !plain
					}
				}
			}
			n.Held = append(n.Held, &allocate.Assigned{Containers: parts})
		}
	}
}

func TestArtifactsOfSeveralResources(t *testing.T) {
	a := allocate.Artifacts{Env: map[string]string{"A": "1"}, Mounts: []allocate.DeviceMount{{Host: "/a", Container: "/x"}}, CDI: []string{"v/c=1"}, PreStart: []string{"r1"}}
	b := allocate.Artifacts{
		Env: map[string]string{"A": "2", "B": "3"}, Mounts: []allocate.DeviceMount{{Host: "/b", Container: "/x"}, {Host: "/b", Container: "/y"}},
		Files: []allocate.DeviceFile{{Host: "/dev/b", Container: "/dev/b"}}, CDI: []string{"v/c=1", "v/c=2"}, PreStart: []string{"r2"},
		Annotations: map[string]string{"k": "v"},
	}
	want := allocate.Artifacts{
		Env: map[string]string{"A": "1", "B": "3"}, Mounts: []allocate.DeviceMount{{Host: "/a", Container: "/x"}, {Host: "/b", Container: "/y"}},
		Files: b.Files, CDI: []string{"v/c=1", "v/c=2"}, PreStart: []string{"r1", "r2"}, Annotations: map[string]string{"k": "v"},
	}
	if got := a.Add(b); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestBondOf(t *testing.T) {
	a := &allocate.Assigned{Containers: map[string]allocate.Part{"c": {Devices: map[string][]string{"example.com/gpu": {"a", "b", "z"}}}}}
	s := allocate.Supplies{Known: map[string]allocate.Supply{"example.com/gpu": serving("a b! c")}}
	b := allocate.BondOf(a, s)
	want := map[string]allocate.Health{"a": allocate.Healthy, "b": allocate.Unhealthy, "z": allocate.Unhealthy}
	if !reflect.DeepEqual(b.Devices["example.com/gpu"], want) || b.Obstacle(false, noon) != nil {
		t.Errorf("240: bond %+v", b)
	}
	away := s.Known["example.com/gpu"]
	away.Serving, away.Until = false, noon.Add(time.Minute)
	b = allocate.BondOf(a, allocate.Supplies{Known: map[string]allocate.Supply{"example.com/gpu": away}})
	if b.Devices["example.com/gpu"]["a"] != allocate.UnknownHealth {
		t.Errorf("240: of a plugin that is away: %+v", b)
	}
	if no := b.Obstacle(false, noon); no == nil || no.Reason != "" || !no.Until.Equal(away.Until) {
		t.Errorf("it is not waited for: %+v", no)
	}
	if no := b.Obstacle(false, away.Until); no == nil || no.Reason == "" {
		t.Errorf("it is waited for without end: %+v", no)
	}
	if allocate.BondOf(nil, s) != nil || allocate.BondOf(&allocate.Assigned{}, s) != nil {
		t.Error("a pod without devices has a bond")
	}
}
