package integration

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/bosun-project/bosun/internal/testbed"
	"github.com/bosun-project/bosun/internal/testbed/controlplane"
	"github.com/bosun-project/bosun/internal/testbed/deviceplugin"
)

// devicePlugin runs a device plugin for this node.
func (m *member) devicePlugin(t *testing.T, o deviceplugin.Options) *deviceplugin.Plugin {
	t.Helper()
	o.Dir = filepath.Join(m.root, "device-plugins")
	return deviceplugin.Start(t, o)
}

func register(t *testing.T, p *deviceplugin.Plugin) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Register(ctx); err != nil {
		t.Fatal(err)
	}
}

// untilOffers waits until the node tells of so many devices of a resource, and that so many may be given to pods.
func (m *member) untilOffers(t *testing.T, resource v1.ResourceName, capacity, allocatable int64) {
	t.Helper()
	eventually(t, func() error {
		n, err := m.api.CoreV1().Nodes().Get(t.Context(), m.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		all, may := n.Status.Capacity[resource], n.Status.Allocatable[resource]
		if all.Value() != capacity || may.Value() != allocatable {
			return fmt.Errorf("node %s has %s of %s, %s allocatable; want %d and %d", m.name, all.String(), resource, may.String(), capacity, allocatable)
		}
		return nil
	})
}

// deviceSpec is a pod whose init container has two devices, and its two containers one each.
const deviceSpec = `spec:
  initContainers:
  - {name: init, image: SHELL, command: [sh, -c, 'echo init=$DEVICES'], resources: {limits: {RESOURCE: 2}}}
  containers:
  - {name: one, image: SHELL, command: [sh, -c, 'echo one=$DEVICES; ls /dev/thing-*; ls -d /shared; trap "exit 1" TERM; sleep 3600 & wait'], resources: {limits: {RESOURCE: 1}}}
  - {name: two, image: SHELL, command: [sh, -c, 'echo two=$DEVICES; ls /dev/thing-*; touch /shared/x || echo read only; sleep 3600'], resources: {limits: {RESOURCE: 1}}}
`

// devicesOf are the devices that the socket of pod resources tells of a pod: "one=a two=b".
func (m *member) devicesOf(t *testing.T, ns, name string) string {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+filepath.Join(m.root, "pod-resources/kubelet.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer, err := podresources.NewPodResourcesListerClient(conn).Get(deadline(t, patience), &podresources.GetPodResourcesRequest{PodNamespace: ns, PodName: name})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, c := range answer.GetPodResources().GetContainers() {
		for _, d := range c.GetDevices() {
			out = append(out, c.GetName()+"="+strings.Join(d.GetDeviceIds(), ","))
		}
	}
	return strings.Join(out, " ")
}

func health(p *v1.Pod, container string) string {
	var out []string
	if s := apiStatus(p, container); s != nil {
		for _, r := range s.AllocatedResourcesStatus {
			for _, d := range r.Resources {
				out = append(out, fmt.Sprintf("%s %s=%s", r.Name, d.ResourceID, d.Health))
			}
		}
	}
	return strings.Join(out, " ")
}

// A pod sees the devices of a plugin, the node and the pod tell how they fare, and who asks for more than there is is refused
// (behaviours 40, 237 to 240).
func TestDevicesOfPlugins(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	const resource = "plugin.test/thing"
	d := m.devicePlugin(t, deviceplugin.Options{Resource: resource, Devices: []string{"a", "b", "c"}, PreStart: true, Prefers: true})
	register(t, d)
	m.untilOffers(t, resource, 3, 3)

	g := m.create(t, ns, "devices", strings.ReplaceAll(deviceSpec, "RESOURCE", resource))
	g.untilSays("one", "one=b", "/dev/thing-b", "/shared")
	g.untilSays("two", "two=c", "/dev/thing-c", "read only")
	g.untilSays("init", "init=b,c")
	d.Await(t, "PreStartContainer", 3)
	g.until("told of its devices", func(p *v1.Pod) bool {
		return health(p, "one") == resource+" b=Healthy" && health(p, "two") == resource+" c=Healthy"
	})

	same(t, "devices told", m.devicesOf(t, ns, "devices"), "one=b two=c")

	greedy := m.create(t, ns, "greedy", "spec: {restartPolicy: Never, containers: [{name: main, image: BOX, resources: {limits: {"+resource+": 2}}}]}\n")
	p := greedy.until("refused", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
	same(t, "reason", p.Status.Reason, "UnexpectedAdmissionError")
	same(t, "message", p.Status.Message, "Pod was rejected: Allocate failed due to requested number of devices unavailable for "+resource+". Requested: 2, Available: 1, which is unexpected")

	d.Tell(deviceplugin.Device("a", true), deviceplugin.Device("b", false), deviceplugin.Device("c", true))
	m.untilOffers(t, resource, 3, 2)
	g.until("told of an ill device", func(p *v1.Pod) bool { return health(p, "one") == resource+" b=Unhealthy" })
	d.Stop()
	m.untilOffers(t, resource, 3, 0)
	g.until("told of a plugin that is away", func(p *v1.Pod) bool { return health(p, "two") == resource+" c=Unknown" })

	found := m.devicePlugin(t, deviceplugin.Options{Resource: "plugin.test/found", Devices: []string{"x"}, Plugins: filepath.Join(m.root, "plugins_registry")})
	m.untilOffers(t, "plugin.test/found", 1, 1)
	found.Stop()
	m.untilOffers(t, "plugin.test/found", 1, 0)
}

// Devices are kept over a crash of the agent, though their plugin is away; a container that ends meanwhile starts again with them; and a new
// pod waits for the plugin, which has to register again (behaviours 238, 347; pains, row 21).
func TestDevicesOverACrashWithALatePlugin(t *testing.T) {
	t.Parallel()
	m := quietMemberOn(t, testbed.Options{Images: []string{"busybox"}}, controlplane.Shared(t), "")
	m.start(t)
	m.untilReady(t)
	ns := m.plane.Namespace(t)
	const resource = "plugin.test/late"
	d := m.devicePlugin(t, deviceplugin.Options{Resource: resource, Devices: []string{"a", "b", "c"}})
	register(t, d)
	m.untilOffers(t, resource, 3, 3)
	spec := strings.ReplaceAll(deviceSpec, "RESOURCE", resource)
	g := m.create(t, ns, "keeps", spec)
	g.untilSays("one", "one=a", "/dev/thing-a")
	p := g.untilReady()

	m.kill(t)
	d.Stop()
	_, id, _ := strings.Cut(apiStatus(p, "one").ContainerID, "://")
	m.start(t)
	m.untilReady(t)
	m.untilOffers(t, resource, 3, 0)
	if _, err := m.runtime.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: id, Timeout: 5}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return containsAll(g.says("one", 1), "one=a", "/dev/thing-a") })

	same(t, "devices told while the plugin is away", m.devicesOf(t, ns, "keeps"), "one=a two=b")

	late := m.create(t, ns, "waits", "spec: {containers: [{name: main, image: SHELL, command: [sh, -c, 'echo main=$DEVICES; sleep 3600'], resources: {limits: {"+resource+": 1}}}]}\n")
	eventually(t, func() error {
		text, err := m.bosun(t, "explain", late.name)
		if err != nil {
			return err
		}
		return containsAll(text, "device plugin of "+resource, "has not registered since the agent started")
	})
	d.Start(t)
	register(t, d)
	late.untilSays("main", "main=c")
	late.untilReady()
	if now := g.untilReady(); apiStatus(now, "two").ContainerID != apiStatus(p, "two").ContainerID {
		t.Error("a container was started again though it ran")
	}
	g.until("told of its devices again", func(p *v1.Pod) bool { return health(p, "two") == resource+" b=Healthy" })
	g.remove()
	g.untilGone()
	again := m.create(t, ns, "again", spec)
	again.untilSays("one", "one=a")
}
