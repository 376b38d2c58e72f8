package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// What the object of a node says that made it itself (behaviours 286, 288, 292-297), and its lease (289).
func TestNodeObject(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	n := m.untilReady(t)
	has(t, "labels", n.Labels, map[string]string{
		v1.LabelHostname: m.name, v1.LabelOSStable: "linux", v1.LabelArchStable: runtime.GOARCH, "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": runtime.GOARCH,
	})
	has(t, "annotations", n.Annotations, map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"})
	for _, r := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourcePods, v1.ResourceEphemeralStorage} {
		whole, free := n.Status.Capacity[r], n.Status.Allocatable[r]
		if whole.IsZero() || free.IsZero() || free.Cmp(whole) > 0 {
			t.Errorf("%s: capacity %s, allocatable %s", r, &whole, &free)
		}
	}
	same(t, "pods", n.Status.Capacity.Pods().Value(), 110)
	for kind, want := range map[v1.NodeConditionType]string{
		v1.NodeReady: "True KubeletReady kubelet is posting ready status", v1.NodeMemoryPressure: "False KubeletHasSufficientMemory kubelet has sufficient memory available",
		v1.NodeDiskPressure: "False KubeletHasNoDiskPressure kubelet has no disk pressure", v1.NodePIDPressure: "False KubeletHasSufficientPID kubelet has sufficient PID available",
	} {
		c := nodeCondition(n, kind)
		if c == nil {
			t.Errorf("no condition %s", kind)
			continue
		}
		same(t, string(kind), fmt.Sprint(c.Status, " ", c.Reason, " ", c.Message), want)
	}
	same(t, "addresses", fmt.Sprint(n.Status.Addresses), fmt.Sprintf("[{InternalIP %s} {Hostname %s}]", nodeIP, m.name))
	same(t, "port", n.Status.DaemonEndpoints.KubeletEndpoint.Port, int32(m.secure))
	about := n.Status.NodeInfo
	if about.BootID == "" || about.KernelVersion == "" || about.OSImage == "" || !strings.HasPrefix(about.ContainerRuntimeVersion, "containerd://") {
		t.Errorf("node info %+v", about)
	}
	same(t, "system", about.OperatingSystem+"/"+about.Architecture, "linux/"+runtime.GOARCH)
	same(t, "kubelet version", about.KubeletVersion, "v1.37.1")
	eventually(t, func() error {
		n := m.untilReady(t)
		for _, i := range n.Status.Images {
			if strings.Contains(fmt.Sprint(i.Names), "docker.io/bosun/testbox:latest") && i.SizeBytes > 0 {
				return nil
			}
		}
		return fmt.Errorf("images %+v", n.Status.Images)
	})
	var handlers []string
	for _, h := range n.Status.RuntimeHandlers {
		handlers = append(handlers, h.Name)
		if h.Features == nil || h.Features.UserNamespaces == nil || h.Features.RecursiveReadOnlyMounts == nil {
			t.Errorf("handler %q has features %+v", h.Name, h.Features)
		}
	}
	if len(handlers) < 2 || !strings.Contains(fmt.Sprint(handlers), "runc") {
		t.Errorf("runtime handlers %q, want the default one and runc", handlers)
	}
	if n.Status.Features == nil || n.Status.Features.SupplementalGroupsPolicy == nil {
		t.Errorf("features %+v", n.Status.Features)
	}
	m.checkLease(t, n)
}

// checkLease waits until the node's lease is renewed.
func (m *member) checkLease(t *testing.T, n *v1.Node) {
	t.Helper()
	var first time.Time
	eventually(t, func() error {
		l, err := m.api.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(t.Context(), m.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if first.IsZero() {
			first = l.Spec.RenewTime.Time
			same(t, "holder", *l.Spec.HolderIdentity, m.name)
			same(t, "seconds", *l.Spec.LeaseDurationSeconds, 40)
			if o := l.OwnerReferences; len(o) != 1 || o[0].Kind != "Node" || o[0].UID != n.UID {
				t.Errorf("the lease is owned by %+v", o)
			}
		}
		between := l.Spec.RenewTime.Sub(first)
		if between == 0 {
			return errors.New("the lease is not renewed")
		}
		if between < 9*time.Second || between > 12*time.Second {
			t.Errorf("the lease is renewed after %v, want 10 s", between)
		}
		return nil
	})
}

// A node object that is there already is made the node's own; what others wrote stays (behaviour 285).
func TestNodeIsAdopted(t *testing.T) {
	t.Parallel()
	m := quietMember(t, controlplane.Shared(t), "", "--node-labels=example.com/asked=yes", "--register-with-taints=example.com/new=yes:NoSchedule")
	made, err := m.api.CoreV1().Nodes().Create(t.Context(), &v1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: m.name, Labels: map[string]string{v1.LabelHostname: "wrong", "example.com/theirs": "1"}, Annotations: map[string]string{"example.com/theirs": "2"},
	}, Spec: v1.NodeSpec{PodCIDR: "10.1.2.0/24", PodCIDRs: []string{"10.1.2.0/24"}, Unschedulable: true}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.start(t)
	n := m.untilReady(t)
	same(t, "UID", n.UID, made.UID)
	has(t, "labels", n.Labels, map[string]string{v1.LabelHostname: m.name, "example.com/theirs": "1", v1.LabelOSStable: "linux"})
	has(t, "annotations", n.Annotations, map[string]string{"example.com/theirs": "2", "volumes.kubernetes.io/controller-managed-attach-detach": "true"})
	if n.Labels["example.com/asked"] != "" || !n.Spec.Unschedulable {
		t.Errorf("what is for new nodes only was done to an old one: labels %v, spec %+v", n.Labels, n.Spec)
	}
	for _, taint := range n.Spec.Taints {
		if strings.HasPrefix(taint.Key, "example.com/") {
			t.Errorf("taints %v", n.Spec.Taints)
		}
	}
}

// A new node has the labels and taints that it was told to register with (behaviours 286, 287).
func TestNodeRegisters(t *testing.T) {
	t.Parallel()
	m := ownMember(t, "--node-labels=example.com/asked=yes", "--register-with-taints=example.com/new=yes:NoSchedule", "--provider-id=cloud://1")
	n := m.untilReady(t)
	has(t, "labels", n.Labels, map[string]string{"example.com/asked": "yes"})
	same(t, "provider", n.Spec.ProviderID, "cloud://1")
	if !strings.Contains(fmt.Sprint(n.Spec.Taints), "example.com/new yes NoSchedule") {
		t.Errorf("taints %v", n.Spec.Taints)
	}
}

// The API server hears within a second that the runtime's network is ready, and that it is not any more (behaviour 292).
func TestReadyFollowsTheNetwork(t *testing.T) {
	t.Parallel()
	m := quietMember(t, controlplane.Shared(t), "")
	conf := filepath.Join(m.bed.CNIConfDir, "10-bosun.conflist")
	network := holds(t, conf)
	if err := os.Remove(conf); err != nil {
		t.Fatal(err)
	}
	m.runtimeNetwork(t, false)
	m.start(t)
	m.untilNotReady(t, "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady")
	var took []time.Duration
	for range 3 {
		if err := os.WriteFile(conf, []byte(network), 0o644); err != nil {
			t.Fatal(err)
		}
		ready := m.runtimeNetwork(t, true)
		m.untilReady(t)
		took = append(took, time.Since(ready))
		if err := os.Remove(conf); err != nil {
			t.Fatal(err)
		}
		m.runtimeNetwork(t, false)
		m.untilNotReady(t, "container runtime network not ready")
	}
	t.Logf("ready %v after the runtime's network", took)
	if best := min(took[0], took[1], took[2]); best > time.Second {
		t.Errorf("the API server hears %v after the network is ready that the node is, want less than a second", best)
	}
}

// runtimeNetwork waits until the runtime's network is ready, or not, and returns when that was seen.
func (m *member) runtimeNetwork(t *testing.T, want bool) time.Time {
	t.Helper()
	eventually(t, func() error {
		s, err := m.runtime.Status(t.Context(), &runtimeapi.StatusRequest{})
		if err != nil {
			return err
		}
		for _, c := range s.Status.Conditions {
			if c.Type == runtimeapi.NetworkReady && c.Status == want {
				return nil
			}
		}
		return fmt.Errorf("the runtime says %v", s.Status.Conditions)
	})
	return time.Now()
}

func (m *member) untilNotReady(t *testing.T, words string) {
	t.Helper()
	eventually(t, func() error {
		n, err := m.api.CoreV1().Nodes().Get(t.Context(), m.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if c := nodeCondition(n, v1.NodeReady); c == nil || c.Status != v1.ConditionFalse || c.Reason != "KubeletNotReady" || !strings.Contains(c.Message, words) {
			return fmt.Errorf("condition %+v, want not ready: %s", c, words)
		}
		return nil
	})
}

// A node with nothing to do asks the API server for hardly more than its lease: six times a minute.
func TestIdleNodeIsQuiet(t *testing.T) {
	t.Parallel()
	m := ownMember(t)
	const calm, watched = 3 * time.Second, 30 * time.Second
	begin := time.Now().Add(calm)
	<-time.After(calm + watched)
	requests, err := m.plane.Requests("system:node:"+m.name, begin)
	if err != nil {
		t.Fatal(err)
	}
	leases := 0
	for _, r := range requests {
		if r.ObjectRef != nil && r.ObjectRef.Resource == "leases" {
			leases++
		}
	}
	t.Logf("%d requests in %v, %d of them for the lease", len(requests), watched, leases)
	if others := len(requests) - leases; leases < 2 || leases > 4 || others > 1 {
		t.Errorf("%d requests for the lease and %d others:\n%s", leases, others, controlplane.Describe(requests))
	}
}
