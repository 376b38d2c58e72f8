package guest

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// A writes tells in which order files of cgroups are written.
type writes struct {
	t     *testing.T
	fd    int
	files map[int32]string
}

// followWrites follows the limits of a pod and of one of its containers.
func followWrites(t *testing.T, pod, container string) *writes {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	w := &writes{t: t, fd: fd, files: map[int32]string{}}
	for who, dir := range map[string]string{"pod": pod, "container": container} {
		for _, file := range []string{"cpu.max", "memory.max"} {
			watch, err := unix.InotifyAddWatch(fd, filepath.Join(dir, file), unix.IN_MODIFY)
			if err != nil {
				t.Fatal(err)
			}
			w.files[int32(watch)] = who + " " + file
		}
	}
	return w
}

// take returns what was written since the last time, each file at its first write.
func (w *writes) take() (order []string) {
	w.t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Read(w.fd, buf)
	if err != nil {
		w.t.Fatal("nothing was written:", err)
	}
	for at := 0; at < n; at += unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(buf[at+12:])) {
		file := w.files[int32(binary.NativeEndian.Uint32(buf[at:]))]
		if !slices.Contains(order, file) {
			order = append(order, file)
		}
	}
	return order
}

// inOrder checks that the first of two was written before the second.
func (w *writes) inOrder(order []string, first, second string) {
	w.t.Helper()
	if i, j := slices.Index(order, first), slices.Index(order, second); i < 0 || j < 0 || i > j {
		w.t.Errorf("written were %v, want %s before %s", order, first, second)
	}
}

// resizing is what is told of a pod's resize.
func resizing(p *v1.Pod) (reason string, under bool) {
	for _, kind := range []v1.PodConditionType{v1.PodResizePending, v1.PodResizeInProgress} {
		if c := podCondition(p, kind); c != nil {
			return c.Reason, true
		}
	}
	return "", false
}

// untilSized waits until all that was asked for has come about, and main may have so much memory.
func (p *tenant) untilSized(memory string) {
	p.t.Helper()
	want := resource.MustParse(memory)
	p.until("resized to "+memory, func(found *v1.Pod) bool {
		_, under := resizing(found)
		i := slices.IndexFunc(found.Status.ContainerStatuses, func(s v1.ContainerStatus) bool { return s.Name == "main" })
		if under || i < 0 || found.Status.ContainerStatuses[i].Resources == nil || found.Status.ObservedGeneration != found.Generation {
			return false
		}
		return want.Equal(found.Status.ContainerStatuses[i].Resources.Limits[v1.ResourceMemory])
	})
}

// A pod is resized while it runs: more, less than it uses, less. When it grows, the pod's cgroup is first, when it shrinks, the
// container's; memory that is in use is not taken away (behaviours 212, 214, 221, 224, 226, 227).
func testResize(t *testing.T, c *cluster) {
	t.Parallel()
	p := c.create(t, "sized", `
spec:
  containers:
  - {name: main, image: BOX, args: [alloc, "24"], resources: {requests: {cpu: 100m, memory: 16Mi}, limits: {cpu: 200m, memory: 64Mi}}}
  - {name: other, image: BOX, resources: {limits: {cpu: 50m, memory: 16Mi}}}
`)
	id := p.id(p.untilReady(), "main")
	p.log("main", "allocated")
	pod, main := p.burstable(""), p.burstable("main")
	check := func(quota, all, memory, most, high int) {
		t.Helper()
		checkFiles(t, main, map[string]string{"cpu.max": fmt.Sprintf("%d 100000", quota), "memory.max": fmt.Sprint(memory << 20), "memory.high": fmt.Sprint(high << 20)})
		checkFiles(t, pod, map[string]string{"cpu.max": fmt.Sprintf("%d 100000", all), "memory.max": fmt.Sprint(most << 20)})
	}
	check(20000, 25000, 64, 80, 40)
	checkFiles(t, pod, map[string]string{"cpu.weight": "6"}) // of 153 shares
	weight := number(t, main, "cpu.weight", "")
	w := followWrites(t, pod, main)

	ask := func(requests, limits string) {
		t.Helper()
		p.resize(fmt.Sprintf(`{"containers": [{"name": "main", "resources": {"requests": %s, "limits": %s}}]}`, requests, limits))
	}
	ask(`{"cpu": "200m", "memory": "16Mi"}`, `{"cpu": "400m", "memory": "96Mi"}`)
	p.untilSized("96Mi")
	check(40000, 45000, 96, 112, 56)
	checkFiles(t, pod, map[string]string{"cpu.weight": "10"}) // of 256 shares
	if got := number(t, main, "cpu.weight", ""); got <= weight {
		t.Errorf("the weight of the container was %d, and is %d now that it asks for more", weight, got)
	}
	order := w.take()
	w.inOrder(order, "pod memory.max", "container memory.max")
	w.inOrder(order, "pod cpu.max", "container cpu.max")

	ask(`{"cpu": "100m", "memory": "16Mi"}`, `{"cpu": "200m", "memory": "20Mi"}`) // less than it uses
	p.until("told that its memory is in use", func(found *v1.Pod) bool {
		reason, _ := resizing(found)
		return reason == v1.PodReasonError && found.Status.ObservedGeneration == found.Generation
	})
	check(40000, 45000, 96, 112, 56)

	ask(`{"cpu": "100m", "memory": "16Mi"}`, `{"cpu": "200m", "memory": "48Mi"}`)
	p.untilSized("48Mi")
	check(20000, 25000, 48, 64, 32)
	order = w.take()
	w.inOrder(order, "container memory.max", "pod memory.max")
	w.inOrder(order, "container cpu.max", "pod cpu.max")
	if events := read(t, pod, "memory.events"); !strings.Contains(events, "oom_kill 0") {
		t.Errorf("the kernel tells: %s", events)
	}
	if found := p.untilReady(); p.id(found, "main") != id || found.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the container is another one: %+v", found.Status.ContainerStatuses)
	}
	ask(`{"cpu": "100m", "memory": "24Mi"}`, `{"cpu": "200m", "memory": "48Mi"}`) // its share of the swap space would be another one
	p.until("told that this cannot be", func(found *v1.Pod) bool {
		reason, _ := resizing(found)
		return reason == v1.PodReasonInfeasible
	})
}

// A pod that has resources as a whole: its container may have what the pod may, also when that changes (behaviours 217, 230).
func testResizeWhole(t *testing.T, c *cluster) {
	t.Parallel()
	p := c.create(t, "whole", `
spec:
  resources: {requests: {cpu: 100m, memory: 24Mi}, limits: {cpu: 200m, memory: 64Mi}}
  containers: [{name: main, image: BOX}]
`)
	p.untilReady()
	pod, main := p.burstable(""), p.burstable("main")
	checkFiles(t, pod, map[string]string{"cpu.max": "20000 100000", "memory.max": fmt.Sprint(64 << 20)})
	checkFiles(t, main, map[string]string{"cpu.max": "20000 100000", "memory.max": fmt.Sprint(64 << 20)})
	w := followWrites(t, pod, main)
	resize := func(quota, memory int) {
		t.Helper()
		p.resize(fmt.Sprintf(`{"resources": {"requests": {"cpu": "100m", "memory": "24Mi"}, "limits": {"cpu": "%dm", "memory": "%dMi"}}}`, quota, memory))
		want := resource.NewQuantity(int64(memory)<<20, resource.BinarySI)
		p.until("resized as a whole", func(found *v1.Pod) bool {
			_, under := resizing(found)
			return !under && found.Status.Resources != nil && want.Equal(found.Status.Resources.Limits[v1.ResourceMemory]) && found.Status.ObservedGeneration == found.Generation
		})
		for _, dir := range []string{pod, main} {
			checkFiles(t, dir, map[string]string{"cpu.max": fmt.Sprintf("%d 100000", 100*quota), "memory.max": fmt.Sprint(memory << 20)})
		}
	}
	resize(400, 96)
	order := w.take()
	w.inOrder(order, "pod memory.max", "container memory.max")
	w.inOrder(order, "pod cpu.max", "container cpu.max")
	resize(200, 48)
	order = w.take()
	w.inOrder(order, "container memory.max", "pod memory.max")
	w.inOrder(order, "container cpu.max", "pod cpu.max")
}
