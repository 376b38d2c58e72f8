package translate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/golden"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

// node is a well-equipped node with cgroup v2.
func node() *translate.Node {
	return &translate.Node{
		Name: "node-a", HostIPs: []string{"192.0.2.1"}, RootDir: "/var/lib/kubelet", PodLogsDir: "/var/log/pods",
		ClusterDNS: []string{"10.96.0.10"}, ClusterDomain: "cluster.local",
		HostResolv:     translate.ResolvConf{Servers: []string{"192.0.2.53"}, Searches: []string{"example.com"}, Options: []string{"edns0", "ndots:2"}},
		MemoryCapacity: 8 << 30, MemoryAllocatable: 7 << 30, CPUCFSQuota: true, CPUCFSQuotaPeriod: 100 * time.Millisecond, CgroupVersion: 2,
		HugePageSizes: []int64{2 << 20, 1 << 30},
		Swap:          translate.Swap{Controller: true},
		MaskedPaths:   []string{"/sys/devices/system/cpu/cpu0/thermal_throttle"},
		Handlers:      map[string]translate.Handler{"": {UserNamespaces: true, RecursiveReadOnly: true}, "plain": {}},
		MountOptions:  true,
	}
}

func facts() environ.Facts {
	return environ.Facts{
		NodeName: "node-a", HostIPs: []string{"192.0.2.1"}, PodIPs: []string{"10.1.2.3"},
		Allocatable: v1.ResourceList{"cpu": resource.MustParse("4"), "memory": resource.MustParse("7Gi")},
	}
}

// inputs makes up what the volume and image layers would have worked out for a container.
func inputs(p *v1.Pod, c *v1.Container) (*translate.Inputs, error) {
	root := "/var/lib/kubelet/pods/" + string(p.UID)
	env, err := environ.Vars(p, c, facts())
	if err != nil {
		return nil, err
	}
	in := &translate.Inputs{
		PodInputs: podInputs(p), Env: env, Volumes: map[string]translate.Volume{}, SubPaths: map[int]string{}, BlockDevices: map[string]translate.BlockDevice{},
		HostsPath: root + "/etc-hosts", TerminationPath: root + "/containers/" + c.Name + "/0123abcd",
	}
	for _, v := range p.Spec.Volumes {
		switch {
		case v.HostPath != nil:
			in.Volumes[v.Name] = translate.Volume{HostPath: v.HostPath.Path}
		case v.Image != nil:
			in.Volumes[v.Name] = translate.Volume{Image: &runtimeapi.ImageSpec{Image: "sha256:" + v.Image.Reference}}
		case v.EmptyDir != nil:
			in.Volumes[v.Name] = translate.Volume{HostPath: root + "/volumes/kubernetes.io~empty-dir/" + v.Name, Relabel: true}
		default:
			in.Volumes[v.Name] = translate.Volume{HostPath: root + "/volumes/kubernetes.io~projected/" + v.Name, Relabel: true, ReadOnly: true}
		}
	}
	for i := range c.VolumeMounts {
		if sub, err := environ.SubPath(&c.VolumeMounts[i], env); err != nil {
			return nil, err
		} else if sub != "" {
			in.SubPaths[i] = fmt.Sprintf("%s/volume-subpaths/%s/%s/%d", root, c.VolumeMounts[i].Name, c.Name, i)
		}
	}
	for _, d := range c.VolumeDevices {
		in.BlockDevices[d.Name] = translate.BlockDevice{HostPath: "/dev/loop7", ReadOnly: strings.HasPrefix(d.Name, "ro-")}
	}
	for _, e := range p.Spec.EphemeralContainers {
		if e.Name == c.Name && e.TargetContainerName != "" {
			in.TargetID = "id-of-" + e.TargetContainerName
		}
	}
	return in, nil
}

func podInputs(p *v1.Pod) translate.PodInputs {
	in := translate.PodInputs{CgroupParent: "/kubepods/pod" + string(p.UID)}
	if p.Spec.HostUsers != nil && !*p.Spec.HostUsers {
		in.UserNamespace = &translate.IDRange{First: 131072, Length: 65536}
	}
	return in
}

func image(c *v1.Container) plan.ResolvedImage {
	_, user, _ := strings.Cut(c.Image, "@user=") // the test's own way to say what an image says
	return plan.ResolvedImage{ID: "sha256:of-" + c.Name, User: user}
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 12 {
		t.Fatalf("found %d pods, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			got := translateFile(t, file)
			golden.File(t, strings.TrimSuffix(filepath.Base(file), ".yaml")+".json", got)
		})
	}
}

func translateFile(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := &v1.Pod{}
	if err := yaml.UnmarshalStrict(data, p); err != nil {
		t.Fatal(err)
	}
	d := &pod.Desired{Pod: p, Source: pod.FromFile, Seen: time.Date(2026, 8, 1, 12, 0, 0, 5, time.UTC), Wanted: true}
	sandbox, remarks, err := translate.Sandbox(d, 1, node(), podInputs(p))
	containers := map[string]any{}
	for _, name := range containerNames(p) {
		c, _ := pod.FindContainer(p, name)
		containers[name] = translated(d, c, t)
	}
	out := map[string]any{
		"sandbox": readable(t, sandbox, err), "remarks": remarks, "containers": containers,
		"hosts": strings.Split(string(translate.Hosts(p, "cluster.local", []string{"10.1.2.3"}, []byte("127.0.0.1 localhost node-a\n"))), "\n"),
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

func translated(d *pod.Desired, c *v1.Container, t *testing.T) any {
	in, err := inputs(d.Pod, c)
	if err != nil {
		return "error: " + translate.Refusal(err).Error()
	}
	config, err := translate.Container(d, c.Name, 2, image(c), node(), in)
	return readable(t, config, err)
}

func containerNames(p *v1.Pod) []string {
	var out []string
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		out = append(out, c.Name)
	}
	for _, e := range p.Spec.EphemeralContainers {
		out = append(out, e.Name)
	}
	return out
}

// readable is a message as JSON that a person can review: constants by name, variables as NAME=value, annotations in full.
func readable(t *testing.T, m proto.Message, err error) any {
	t.Helper()
	if err != nil {
		return "error: " + translate.Refusal(err).Reason + ": " + err.Error()
	}
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if c, ok := m.(*runtimeapi.ContainerConfig); ok && len(c.Envs) > 0 {
		var envs []string
		for _, e := range c.Envs {
			envs = append(envs, e.Key+"="+string(e.Value))
		}
		out["envs"] = envs
	}
	return out
}

func TestInputsAreLeftAlone(t *testing.T) {
	for _, file := range []string{"testdata/security.yaml", "testdata/dns.yaml", "testdata/volumes.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p := &v1.Pod{}
		if err := yaml.UnmarshalStrict(data, p); err != nil {
			t.Fatal(err)
		}
		before, n, want := p.DeepCopy(), node(), node()
		d := &pod.Desired{Pod: p, Source: pod.FromFile}
		for range 2 {
			if _, _, err := translate.Sandbox(d, 0, n, podInputs(p)); err != nil {
				t.Fatal(err)
			}
			for _, name := range containerNames(p) {
				c, _ := pod.FindContainer(p, name)
				in, err := inputs(p, c)
				if err != nil {
					t.Fatal(err)
				}
				_, err = translate.Container(d, name, 0, image(c), n, in)
				if refused := (*translate.ConfigError)(nil); err != nil && !errors.As(err, &refused) {
					t.Fatal(err)
				}
			}
		}
		if d := cmp.Diff(before, p); d != "" {
			t.Errorf("%s: the pod was changed\n%s", file, d)
		}
		if d := cmp.Diff(want, n); d != "" {
			t.Errorf("%s: the node was changed\n%s", file, d)
		}
	}
}

// parse makes a pod of a specification in YAML.
func parse(t *testing.T, spec string) *v1.Pod {
	t.Helper()
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u-1"}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatalf("spec: %v\n%s", err, spec)
	}
	return p
}

// sandboxOf and containerOf translate a specification; change may adjust what goes in.
func sandboxOf(t *testing.T, spec string, change func(*translate.Node, *translate.PodInputs)) (*runtimeapi.PodSandboxConfig, []translate.Remark, error) {
	t.Helper()
	p, n := parse(t, spec), node()
	in := podInputs(p)
	if change != nil {
		change(n, &in)
	}
	return translate.Sandbox(&pod.Desired{Pod: p, Source: pod.FromAPI}, 0, n, in)
}

func containerOf(t *testing.T, spec, name string, change func(*translate.Node, *translate.Inputs)) (*runtimeapi.ContainerConfig, error) {
	t.Helper()
	p, n := parse(t, spec), node()
	c, _ := pod.FindContainer(p, name)
	if c == nil {
		t.Fatalf("no container %s", name)
	}
	in, err := inputs(p, c)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(n, in)
	}
	return translate.Container(&pod.Desired{Pod: p, Source: pod.FromAPI}, name, 0, image(c), n, in)
}

func containerOfPod(t *testing.T, p *v1.Pod) (*runtimeapi.ContainerConfig, error) {
	t.Helper()
	in, err := inputs(p, &p.Spec.Containers[0])
	if err != nil {
		t.Fatal(err)
	}
	return translate.Container(&pod.Desired{Pod: p, Source: pod.FromAPI}, p.Spec.Containers[0].Name, 0, image(&p.Spec.Containers[0]), node(), in)
}
