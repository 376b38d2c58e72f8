package integration

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	healthpb "k8s.io/kubelet/pkg/apis/dra-health/v1"
	pb "k8s.io/kubelet/pkg/apis/dra/v1"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/bosun-project/bosun/internal/testbed"
	"github.com/bosun-project/bosun/internal/testbed/controlplane"
	"github.com/bosun-project/bosun/internal/testbed/dradriver"
)

// draDriver runs a driver on the node, that has prepared for a claim what the cluster has allocated to it.
func (m *member) draDriver(t *testing.T, name string) *dradriver.Driver {
	t.Helper()
	allocated := func(c *pb.Claim) []*pb.Device {
		claim, err := m.api.ResourceV1().ResourceClaims(c.Namespace).Get(t.Context(), c.Name, metav1.GetOptions{})
		if err != nil || claim.Status.Allocation == nil {
			t.Errorf("claim %s: %v, %+v", c.Name, err, claim)
			return nil
		}
		var devices []*pb.Device
		for _, r := range claim.Status.Allocation.Devices.Results {
			devices = append(devices, &pb.Device{RequestNames: []string{r.Request}, PoolName: r.Pool, DeviceName: r.Device})
		}
		return devices
	}
	return dradriver.Start(t, dradriver.Options{
		Name: name, Plugins: filepath.Join(m.root, "plugins_registry"), CDI: filepath.Join(m.bed.Dir, "cdi"),
		Versions: []string{"v1.DRAPlugin", "v1.DRAResourceHealth"}, Allocated: allocated,
	})
}

// offer publishes three devices of a driver on this node, as the driver does.
func (m *member) offer(t *testing.T, driver string) {
	t.Helper()
	m.apply(t, "default", strings.ReplaceAll(`
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: DRIVER}
spec:
  driver: DRIVER
  nodeName: NODE
  pool: {name: NODE, generation: 1, resourceSliceCount: 1}
  devices: [{name: dev0}, {name: dev1}, {name: dev2}]
`, "DRIVER", driver))
}

// offered are the drivers of which there are slices of this node.
func (m *member) offered(t *testing.T) []string {
	t.Helper()
	list, err := m.api.ResourceV1().ResourceSlices().List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + m.name})
	if err != nil {
		t.Fatal(err)
	}
	var drivers []string
	for i := range list.Items {
		drivers = append(drivers, list.Items[i].Spec.Driver)
	}
	slices.Sort(drivers)
	return drivers
}

const claimsText = `
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: DRIVER}
spec: {selectors: [{cel: {expression: 'device.driver == "DRIVER"'}}]}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: shared}
spec: {devices: {requests: [{name: one, exactly: {deviceClassName: DRIVER}}, {name: two, exactly: {deviceClassName: DRIVER}}]}}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: own}
spec: {spec: {devices: {requests: [{name: any, exactly: {deviceClassName: DRIVER}}]}}}
`

// claimsPod is a pod of which one container has the pod's own claim and a part of the shared one, and the other has nothing.
const claimsPod = `
spec:
  schedulerName: default-scheduler
  nodeSelector: {kubernetes.io/hostname: NODE}
  terminationGracePeriodSeconds: 1
  resourceClaims: [{name: own, resourceClaimTemplateName: own}, {name: shared, resourceClaimName: shared}]
  containers:
  - {name: both, image: SHELL, command: [sh, -c, 'env | grep ^DRA_ | sort; echo "that is all"; trap "exit 1" TERM; sleep 3600 & wait'],
     resources: {claims: [{name: own}, {name: shared, request: one}]}}
  - {name: none, image: SHELL, command: [sh, -c, 'env | grep ^DRA_; echo "that is all"; sleep 3600']}
`

const sharingPod = `
spec:
  schedulerName: default-scheduler
  nodeSelector: {kubernetes.io/hostname: NODE}
  terminationGracePeriodSeconds: 1
  resourceClaims: [{name: theirs, resourceClaimName: shared}]
  containers:
  - {name: app, image: SHELL, command: [sh, -c, 'env | grep ^DRA_ | sort; echo "that is all"; sleep 3600'], resources: {claims: [{name: theirs}]}}
`

// Containers see the devices of their claims, which scheduler and driver have given them; a crash of the agent changes nothing; what is
// shared is given back by the last; what a driver offers that is gone goes (behaviours 240, 241, 242).
func TestClaimsOfPods(t *testing.T) {
	t.Parallel()
	m := quietMemberOn(t, testbed.Options{}, controlplane.Shared(t), "")
	ns := m.plane.Namespace(t)
	driver, lost := m.name+".dra.test", "lost-"+m.name+".dra.test"
	m.offer(t, lost)
	d := m.draDriver(t, driver)
	m.start(t)
	m.untilReady(t)
	m.offer(t, driver)
	m.apply(t, ns, strings.ReplaceAll(claimsText, "DRIVER", driver))

	d.Fail("NodePrepareResources", errors.New("no power"))
	one := m.create(t, ns, "claims-one", strings.ReplaceAll(claimsPod, "NODE", m.name))
	one.untilEvents("FailedPrepareDynamicResources")
	eventually(t, func() error {
		text, err := m.bosun(t, "explain", "claims-one")
		return errors.Join(err, containsAll(text, "preparing its resource claims fails", "shared", "of driver "+driver, "no power"))
	})
	if p, err := one.now(); err != nil || p.Status.Phase != v1.PodPending {
		t.Errorf("%v, %v", p.Status.Phase, err)
	}
	d.Fail("NodePrepareResources", nil)
	p := one.untilReady()
	own := *p.Status.ResourceClaimStatuses[0].ResourceClaimName
	sees := m.seen(t, d, ns, map[string]string{own: "", "shared": "one"})
	one.untilSays("both", "that is all")
	same(t, "what the container sees", one.says("both", 0), sees+"that is all\n")
	one.untilSays("none", "that is all")
	same(t, "what the container without claims sees", one.says("none", 0), "that is all\n")

	two := m.create(t, ns, "claims-two", strings.ReplaceAll(sharingPod, "NODE", m.name))
	two.untilSays("app", "that is all")
	same(t, "what the other pod sees", two.says("app", 0), m.seen(t, d, ns, map[string]string{"shared": ""})+"that is all\n")
	prepared := d.Prepared()
	if len(prepared) != 2 {
		t.Errorf("prepared is %v", prepared)
	}
	m.untilFares(t, d, one)
	same(t, "what the socket of pod resources tells", m.dynamicOf(t, ns, "claims-one"), m.granted(t, ns, own, "")+m.granted(t, ns, "shared", "one"))

	asked := len(d.Calls("NodePrepareResources"))
	m.restart(t)
	exec := func(command ...string) error {
		args := append([]string{"-n", ns, "exec", "claims-one", "-c", "both", "--"}, command...)
		out, err := m.plane.KubectlInput(deadline(t, patience), "", args...)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}
	eventually(t, func() error { return exec("true") }) // the agent may not listen yet
	_ = exec("kill", "1")                               // it may end with the container
	eventually(t, func() error { return one.hasRestarted("both", 1) })
	eventually(t, func() error { return containsAll(one.says("both", 1), sees) })
	if again := len(d.Calls("NodePrepareResources")); again != asked {
		t.Errorf("after a crash the driver was asked %d times more", again-asked)
	}

	one.remove()
	one.untilGone()
	if calls := d.Calls("NodeUnprepareResources"); len(calls) != 1 || !slices.Equal(calls[0].Claims, []string{own}) {
		t.Errorf("given back: %v, want %s only", calls, own)
	}
	two.remove()
	two.untilGone()
	if left := d.Prepared(); len(left) > 0 {
		t.Errorf("still prepared: %v", left)
	}
	d.Vanish(t)
	within(t, 2*patience, func() error {
		if left := m.offered(t); len(left) > 0 {
			return fmt.Errorf("the cluster still believes in devices of %v", left)
		}
		return nil
	})
	m.untilLogged(t, "the resource slices of a driver that is gone were deleted", lost)
}

// dynamicOf are the devices of claims that the socket of pod resources tells of a pod.
func (m *member) dynamicOf(t *testing.T, ns, name string) string {
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
	out := ""
	for _, c := range answer.GetPodResources().GetContainers() {
		for _, r := range c.GetDynamicResources() {
			for _, d := range r.ClaimResources {
				out += fmt.Sprintf("%s: %s/%s %s/%s/%s %d\n", c.Name, r.ClaimNamespace, r.ClaimName, d.DriverName, d.PoolName, d.DeviceName, len(d.CdiDevices))
			}
		}
	}
	return out
}

// granted is what it is to tell of one claim of the container called both.
func (m *member) granted(t *testing.T, ns, name, request string) string {
	t.Helper()
	claim, err := m.api.ResourceV1().ResourceClaims(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, r := range claim.Status.Allocation.Devices.Results {
		if request == "" || r.Request == request {
			out += fmt.Sprintf("both: %s/%s %s/%s/%s 1\n", ns, name, r.Driver, r.Pool, r.Device)
		}
	}
	return out
}

// seen is what containers see that have all of a claim, or one request of it.
func (m *member) seen(t *testing.T, d *dradriver.Driver, ns string, claims map[string]string) string {
	t.Helper()
	var lines []string
	for name, request := range claims {
		claim, err := m.api.ResourceV1().ResourceClaims(ns).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range claim.Status.Allocation.Devices.Results {
			if request == "" || r.Request == request {
				lines = append(lines, d.Variable(r.Device)+"="+string(claim.UID)+"\n")
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// untilFares has all devices of the node be well, then one ill, and waits until the pod says so.
func (m *member) untilFares(t *testing.T, d *dradriver.Driver, g *guest) {
	t.Helper()
	say := func(h healthpb.HealthStatus) {
		var all []*healthpb.DeviceHealth
		for _, name := range []string{"dev0", "dev1", "dev2"} {
			all = append(all, &healthpb.DeviceHealth{
				Device: &healthpb.DeviceIdentifier{PoolName: m.name, DeviceName: name}, Health: h, HealthCheckTimeoutSeconds: int64(time.Hour / time.Second),
			})
		}
		d.Fares(all...)
	}
	for h, want := range map[healthpb.HealthStatus]string{healthpb.HealthStatus_HEALTHY: "Healthy", healthpb.HealthStatus_UNHEALTHY: "Unhealthy"} {
		say(h)
		g.until("told to have devices that are "+want, func(p *v1.Pod) bool {
			told := health(p, "both")
			return strings.Contains(told, "claim:own "+d.Name()+"/"+m.name+"/dev") && strings.Contains(told, "claim:shared/one ") &&
				strings.Count(told, "="+want) == 2 && health(p, "none") == ""
		})
	}
}
