package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// onDisk gives an agent that has yet to start a small disk of its own for its state.
func (m *member) onDisk(t *testing.T, size string) {
	t.Helper()
	if err := os.MkdirAll(m.root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", m.root, "tmpfs", 0, "mode=755,size="+size); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", m.root, "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.kill(t)
		if err := unix.Unmount(m.root, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fillUp writes some MiB into a file.
func fillUp(t *testing.T, path string, much int) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, much<<20), 0o644); err != nil {
		t.Fatal(err)
	}
}

// untilCondition waits until the API server knows a condition of the node, with a reason.
func (m *member) untilCondition(t *testing.T, kind v1.NodeConditionType, status v1.ConditionStatus, reason string) {
	t.Helper()
	eventually(t, func() error {
		n, err := m.api.CoreV1().Nodes().Get(t.Context(), m.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if c := nodeCondition(n, kind); c == nil || c.Status != status || c.Reason != reason {
			return fmt.Errorf("the node's condition is %+v", c)
		}
		return nil
	})
}

// untilEvent waits for an event about an object of this kind and name, and returns it. Those of nodes are in the namespace default.
func (m *member) untilEvent(t *testing.T, ns, kind, name, reason string) *v1.Event {
	t.Helper()
	var found *v1.Event
	eventually(t, func() error {
		list, err := m.api.CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{
			FieldSelector: "involvedObject.kind=" + kind + ",involvedObject.name=" + name + ",reason=" + reason,
		})
		if err != nil {
			return err
		}
		if len(list.Items) == 0 {
			return fmt.Errorf("there is no event %s about %s %s", reason, kind, name)
		}
		found = &list.Items[0]
		return nil
	})
	return found
}

const (
	critical = "spec: {priorityClassName: system-node-critical, containers: [{name: main, image: BOX}]}"
	spacious = "spec: {volumes: [{name: data, emptyDir: {}}], containers: [{name: main, image: BOX, volumeMounts: [{name: data, mountPath: /data}]}]}"
)

// A node whose disk fills up says so, ends the pod that takes most of it, and lets none in but critical ones while it lasts
// (behaviours 42, 150, 247 to 254, 257, 258, 293, 294, 302).
func TestDiskPressure(t *testing.T) {
	t.Parallel()
	m := quietMember(t, controlplane.Shared(t), "", "--eviction-hard=nodefs.available<48Mi", "--eviction-pressure-transition-period=5s")
	m.onDisk(t, "96M")
	m.start(t)
	m.untilReady(t)
	m.untilCondition(t, v1.NodeDiskPressure, v1.ConditionFalse, "KubeletHasNoDiskPressure")
	ns := m.plane.Namespace(t)
	hog, modest, vital := m.create(t, ns, "hog", spacious), m.create(t, ns, "modest", spacious), m.create(t, "kube-system", "vital-"+m.name, critical)
	for _, g := range []*guest{hog, modest, vital} {
		g.untilReady()
	}
	fillUp(t, modest.volume("empty-dir", "data", "file"), 1)
	fillUp(t, hog.volume("empty-dir", "data", "file"), 55)

	p := hog.untilPhase(v1.PodFailed)
	same(t, "reason", p.Status.Reason, "Evicted")
	if why := p.Status.Message; !strings.HasPrefix(why, "The node was low on resource: ephemeral-storage. Threshold quantity: 48Mi, available: ") {
		t.Errorf("message %q", why)
	}
	same(t, "condition", terminationOf(p), "True TerminationByKubelet: "+p.Status.Message)
	if s := apiStatus(p, "main"); s == nil || s.State.Terminated == nil || s.State.Terminated.Reason == "ContainerStatusUnknown" {
		t.Errorf("its container is %+v", s)
	}
	eventually(t, func() error { // neither its container nor its volume stays; its object does
		if all, err := m.containersOf("hog"); err != nil || len(all) > 0 {
			return fmt.Errorf("containers %v (%v)", all, err)
		}
		if _, err := os.Stat(hog.volume("empty-dir", "data")); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("its volume is there: %v", err)
		}
		return nil
	})
	same(t, "the other pod", isReady(modest.untilReady()), true)
	e := m.untilEvent(t, ns, "Pod", "hog", "Evicted")
	if e.Type != "Warning" || e.Message != p.Status.Message || e.Annotations["starved_resource"] != "ephemeral-storage" {
		t.Errorf("the event is %s %q, %v", e.Type, e.Message, e.Annotations)
	}
	same(t, "event", m.untilEvent(t, "default", "Node", m.name, "EvictionThresholdMet").Message, "Attempting to reclaim ephemeral-storage")
	m.untilEvent(t, "default", "Node", m.name, "NodeHasDiskPressure")
	m.untilCondition(t, v1.NodeDiskPressure, v1.ConditionFalse, "KubeletHasNoDiskPressure")
	m.untilEvent(t, "default", "Node", m.name, "NodeHasNoDiskPressure")
	same(t, "kubelet_evictions", untilNumber(t, m.node, `kubelet_evictions{eviction_signal="nodefs.available"}`), 1)

	t.Log("nothing that may go takes it")
	modest.remove()
	modest.untilGone()
	fillUp(t, filepath.Join(m.root, "foreign"), 60)
	m.untilCondition(t, v1.NodeDiskPressure, v1.ConditionTrue, "KubeletHasDiskPressure")
	eventually(t, func() error {
		n, err := m.api.CoreV1().Nodes().Get(t.Context(), m.name, metav1.GetOptions{})
		if err == nil && !strings.Contains(fmt.Sprint(n.Spec.Taints), "node.kubernetes.io/disk-pressure") {
			err = fmt.Errorf("taints %v", n.Spec.Taints)
		}
		return err
	})
	if text, err := m.bosun(t, "explain"); err != nil || !strings.Contains(text, "nodefs.available is") {
		t.Errorf("explain says (%v):\n%s", err, text)
	}
	late := m.create(t, ns, "late", plain).untilPhase(v1.PodFailed)
	same(t, "refused", late.Status.Reason+": "+late.Status.Message, "Evicted: Pod was rejected: The node had condition: [DiskPressure]. ")
	m.create(t, "kube-system", "late-"+m.name, critical).untilReady()
	same(t, "the critical pod", isReady(vital.untilReady()), true)

	t.Log("an agent that starts meanwhile knows")
	since := nodeCondition(m.untilReady(t), v1.NodeDiskPressure).LastTransitionTime
	m.restart(t)
	m.untilLogged(t, "the node's object was there already")
	m.create(t, ns, "later", plain).untilPhase(v1.PodFailed)
	if c := nodeCondition(m.untilReady(t), v1.NodeDiskPressure); c.Status != v1.ConditionTrue || !c.LastTransitionTime.Equal(&since) {
		t.Errorf("after a restart of the agent the condition is %+v; it was so since %v", c, since)
	}
	if err := os.Remove(filepath.Join(m.root, "foreign")); err != nil {
		t.Fatal(err)
	}
	m.untilCondition(t, v1.NodeDiskPressure, v1.ConditionFalse, "KubeletHasNoDiskPressure")
	m.create(t, ns, "after", plain).untilReady()
}

// When the pods together come near their limit, one that uses more than it asked for goes; meanwhile none comes that asked for
// nothing, unless it bears that (behaviours 42, 244, 248, 251, 253, 258).
func TestMemoryPressure(t *testing.T) {
	t.Parallel()
	var machine unix.Sysinfo_t
	if err := unix.Sysinfo(&machine); err != nil {
		t.Fatal(err)
	}
	reserved := int64(machine.Totalram)*int64(machine.Unit) - 300<<20 // so that the pods have 300Mi, whatever others do here
	m := ownMember(t, fmt.Sprintf("--system-reserved=memory=%d", reserved), "--eviction-hard=memory.available<100Mi")
	ns := m.plane.Namespace(t)
	const modest = "spec: {containers: [{name: main, image: BOX, resources: {requests: {memory: 20Mi}}}]}"
	calm := m.create(t, ns, "calm", modest)
	calm.untilReady()
	m.untilCondition(t, v1.NodeMemoryPressure, v1.ConditionFalse, "KubeletHasSufficientMemory")
	hog := m.create(t, ns, "hog", `spec: {containers: [{name: main, image: BOX, args: [alloc, "240", then, wait]}]}`)
	p := hog.untilPhase(v1.PodFailed)
	var available, used string
	const words = "The node was low on resource: memory. Threshold quantity: 100Mi, available: %s Container main was using %s request is 0, has larger consumption of memory. "
	if _, err := fmt.Sscanf(p.Status.Message, words, &available, &used); err != nil || p.Status.Reason != "Evicted" {
		t.Errorf("it is %s: %q (%v)", p.Status.Reason, p.Status.Message, err)
	}
	if e := m.untilEvent(t, ns, "Pod", "hog", "Evicted"); e.Annotations["offending_containers"] != "main" || e.Annotations["offending_containers_usage"]+"," != used {
		t.Errorf("the event has %v", e.Annotations)
	}
	same(t, "kubelet_evictions", untilNumber(t, m.node, `kubelet_evictions{eviction_signal="allocatableMemory.available"}`), 1)
	m.untilCondition(t, v1.NodeMemoryPressure, v1.ConditionTrue, "KubeletHasInsufficientMemory")
	m.untilEvent(t, "default", "Node", m.name, "NodeHasInsufficientMemory")

	refused := m.create(t, ns, "refused", plain).untilPhase(v1.PodFailed)
	same(t, "a pod that asked for nothing", refused.Status.Reason+": "+refused.Status.Message, "Evicted: Pod was rejected: The node had condition: [MemoryPressure]. ")
	m.create(t, ns, "asks", modest).untilReady()
	m.create(t, ns, "bears", "spec: {tolerations: [{key: node.kubernetes.io/memory-pressure, operator: Exists, effect: NoSchedule}], containers: [{name: main, image: BOX}]}").untilReady()
	same(t, "the calm pod", isReady(calm.untilReady()), true)
}

// A pod that takes more of the disk than its own limits allow has to go; nobody disrupts it (behaviours 150, 255).
func TestLimitsOfTheDisk(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	// The limit of one container, in the layer that the runtime has of it; the pod as a whole keeps its own.
	writes := m.create(t, ns, "writes", `
spec:
  containers:
  - {name: main, image: BOX, args: [write, /big, `+strings.Repeat("x", 100<<10)+`, then, wait], resources: {limits: {ephemeral-storage: 64Ki}}}
  - {name: other, image: BOX, resources: {limits: {ephemeral-storage: 1Gi}}}
`)
	logs := m.create(t, ns, "logs", `
spec: {containers: [{name: main, image: BOX, args: [lines, "20000", then, wait], resources: {limits: {ephemeral-storage: 100Ki}}}]}
`)
	volume := m.create(t, ns, "volume", `
spec:
  volumes: [{name: data, emptyDir: {sizeLimit: 1Mi}}]
  containers: [{name: main, image: BOX, volumeMounts: [{name: data, mountPath: /data}]}]
`)
	inLimits := m.create(t, ns, "in-limits", `
spec:
  volumes: [{name: data, emptyDir: {sizeLimit: 4Mi}}]
  containers: [{name: main, image: BOX, volumeMounts: [{name: data, mountPath: /data}], resources: {limits: {ephemeral-storage: 8Mi}}}]
`)
	volume.untilReady()
	inLimits.untilReady()
	fillUp(t, inLimits.volume("empty-dir", "data", "file"), 2)
	fillUp(t, volume.volume("empty-dir", "data", "file"), 2)
	for g, want := range map[*guest]string{
		writes: `Container main exceeded its local ephemeral storage limit "64Ki". `,
		logs:   "Pod ephemeral local storage usage exceeds the total limit of containers 100Ki. ",
		volume: `Usage of EmptyDir volume "data" exceeds the limit "1Mi". `,
	} {
		p := g.untilPhase(v1.PodFailed)
		same(t, g.name, p.Status.Reason+": "+p.Status.Message, "Evicted: "+want)
		same(t, g.name+"'s disruption", terminationOf(p), "")
		same(t, g.name+"'s event", m.untilEvent(t, ns, "Pod", g.name, "Evicted").Message, want)
	}
	same(t, "the pod within its limits", isReady(inLimits.untilReady()), true)
}
