package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// resize asks for other resources of a pod's containers, as a user would: each "main cpu=100m/200m memory=32Mi/64Mi".
func (g *guest) resize(wishes ...string) {
	g.t.Helper()
	if out, err := g.tryResize(wishes...); err != nil {
		g.t.Fatalf("%v\n%s", err, out)
	}
}

func (g *guest) tryResize(wishes ...string) (string, error) {
	kinds := map[string][]string{}
	for _, wish := range wishes {
		words := strings.Fields(wish)
		var requests, limits []string
		for _, w := range words[1:] {
			name, sizes, _ := strings.Cut(w, "=")
			request, limit, _ := strings.Cut(sizes, "/")
			requests = append(requests, fmt.Sprintf("%q: %q", name, request))
			limits = append(limits, fmt.Sprintf("%q: %q", name, limit))
		}
		kind := "containers"
		name, isInit := strings.CutPrefix(words[0], "init:")
		if isInit {
			kind = "initContainers"
		}
		kinds[kind] = append(kinds[kind], fmt.Sprintf(`{"name": %q, "resources": {"requests": {%s}, "limits": {%s}}}`,
			name, strings.Join(requests, ", "), strings.Join(limits, ", ")))
	}
	var patch []string
	for kind, list := range kinds {
		patch = append(patch, fmt.Sprintf("%q: [%s]", kind, strings.Join(list, ", ")))
	}
	return g.plane.Kubectl(deadline(g.t, patience), "-n", g.ns, "patch", "pod", g.name, "--subresource", "resize",
		"--patch", `{"spec": {`+strings.Join(patch, ", ")+`}}`)
}

// resizing is what the API server has of a pod's resize.
func resizing(p *v1.Pod) string {
	var all []string
	for _, t := range []v1.PodConditionType{v1.PodResizePending, v1.PodResizeInProgress} {
		if c := podCondition(p, t); c.Type != "" {
			all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s of %d", strings.TrimPrefix(string(t), "PodResize"), c.Reason, c.ObservedGeneration)))
		}
	}
	return strings.Join(all, ", ")
}

// sizesOf is what a container has, as its status tells: requested and at most, first CPU, then memory.
func sizesOf(s *v1.ContainerStatus) string {
	if s == nil || s.Resources == nil {
		return "unknown"
	}
	text := func(list v1.ResourceList, name v1.ResourceName) string {
		q := list[name]
		return q.String()
	}
	r := s.Resources
	return fmt.Sprintf("cpu=%s/%s memory=%s/%s", text(r.Requests, v1.ResourceCPU), text(r.Limits, v1.ResourceCPU),
		text(r.Requests, v1.ResourceMemory), text(r.Limits, v1.ResourceMemory))
}

// untilSized waits until a container has what was asked for, and nothing more is to come.
func (g *guest) untilSized(container, want string) *v1.Pod {
	g.t.Helper()
	return g.until(container+" resized to "+want, func(p *v1.Pod) bool {
		return sizesOf(apiStatus(p, container)) == want && resizing(p) == "" && p.Status.ObservedGeneration == p.Generation
	})
}

// inCgroup is what the kernel has of a pod's cgroup, or of that of one of its containers: weight, quota, and memory limit.
func (g *guest) inCgroup(class, container string) string {
	g.t.Helper()
	dir := filepath.Join(g.cgroups, "kubepods", class, "pod"+g.uid)
	if container != "" {
		p, err := g.now()
		if err != nil {
			g.t.Fatal(err)
		}
		_, id, _ := strings.Cut(apiStatus(p, container).ContainerID, "://")
		dir = filepath.Join(dir, id)
	}
	var got []string
	for _, files := range [][2]string{{"cpu/cpu.shares", ""}, {"cpu/cpu.cfs_quota_us", "cpu.max"}, {"memory/memory.limit_in_bytes", "memory.max"}} {
		for _, file := range files {
			if text, err := os.ReadFile(cgroupFile(dir, file)); err == nil && file != "" {
				quota, _, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
				got = append(got, strings.TrimSpace(quota))
				break
			}
		}
	}
	if len(got) == 2 { // version 2 has weights, which runtimes work out in ways of their own
		got = append([]string{"?"}, got...)
	}
	return strings.Join(got, " ")
}

// sameLimits compares what the kernel has with shares, quota, and memory limit in MiB; version 2 shows no shares.
func (g *guest) sameLimits(what, got string, shares, quota, mib int) {
	g.t.Helper()
	want := fmt.Sprintf("%d %d %d", shares, quota, mib<<20)
	if strings.HasPrefix(got, "? ") {
		_, want, _ = strings.Cut(want, " ")
		want = "? " + want
	}
	same(g.t, what, got, want)
}

func (g *guest) untilEvents(want ...string) {
	g.t.Helper()
	eventually(g.t, func() error {
		return containsAll(g.kubectl(g.t, g.ns, "get", "events", "-o", "jsonpath={range .items[*]}{.reason}: {.message}\n{end}"), want...)
	})
}

// TestResize holds what becomes of resizes against a real API server, with real cgroups.
func TestResize(t *testing.T) {
	t.Parallel()
	m := ownMember(t)
	t.Run("in place", func(t *testing.T) { resizeInPlace(t, m) })
	t.Run("while it initialises", func(t *testing.T) { resizeInit(t, m) })
	t.Run("as a whole", func(t *testing.T) { resizeWhole(t, m) })
	t.Run("room", func(t *testing.T) { resizeDeferred(t, m) })
}

// An init container that runs is resized, which the API server allows because the node declares it (behaviour 230).
func resizeInit(t *testing.T, m *member) {
	g := m.create(t, m.plane.Namespace(t), "sizedinit", `
spec:
  initContainers:
  - {name: setup, image: BOX, resources: {requests: {cpu: 50m, memory: 16Mi}, limits: {cpu: 50m, memory: 16Mi}}}
  containers:
  - {name: main, image: BOX, resources: {requests: {cpu: 50m, memory: 16Mi}, limits: {cpu: 50m, memory: 16Mi}}}
`)
	g.until("initialising", func(p *v1.Pod) bool { s := apiStatus(p, "setup"); return s != nil && s.State.Running != nil })
	g.resize("init:setup cpu=100m/100m memory=32Mi/32Mi")
	g.untilSized("setup", "cpu=100m/100m memory=32Mi/32Mi")
	g.sameLimits("setup with more", g.inCgroup("", "setup"), 102, 10000, 32)
	g.remove()
}

// A pod is resized with kubectl while it runs: more, less, less than it uses, with a new instance, also its sidecar; what it was
// given survives a crash of the agent (behaviours 221, 222, 225-231, 270, 313).
func resizeInPlace(t *testing.T, m *member) {
	g := m.create(t, m.plane.Namespace(t), "sized", `
spec:
  initContainers:
  - {name: side, image: BOX, restartPolicy: Always, resources: {requests: {cpu: 50m, memory: 16Mi}, limits: {cpu: 50m, memory: 16Mi}}}
  containers:
  - {name: main, image: BOX, args: [alloc, "24"], resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}}
  - {name: anew, image: BOX, resources: {requests: {cpu: 50m, memory: 16Mi}, limits: {cpu: 50m, memory: 16Mi}},
     resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]}
`)
	p := g.untilReady()
	same(t, "what main has at first", sizesOf(apiStatus(p, "main")), "cpu=100m/200m memory=32Mi/64Mi")
	g.sameLimits("main at first", g.inCgroup("burstable", "main"), 102, 20000, 64)
	g.sameLimits("the pod at first", g.inCgroup("burstable", ""), 204, 30000, 96)

	g.resize("main cpu=200m/400m memory=32Mi/96Mi", "init:side cpu=100m/100m memory=32Mi/32Mi")
	p = g.untilSized("main", "cpu=200m/400m memory=32Mi/96Mi")
	same(t, "what the sidecar has", sizesOf(apiStatus(p, "side")), "cpu=100m/100m memory=32Mi/32Mi")
	g.sameLimits("main with more", g.inCgroup("burstable", "main"), 204, 40000, 96)
	g.sameLimits("the sidecar with more", g.inCgroup("burstable", "side"), 102, 10000, 32)
	g.sameLimits("the pod with more", g.inCgroup("burstable", ""), 358, 55000, 144)
	cpu := apiStatus(p, "main").AllocatedResources[v1.ResourceCPU]
	same(t, "allocated to main", cpu.String(), "200m")
	g.untilEvents(`ResizeStarted: Pod resize started: {"initContainers":[{"name":"side",`, `ResizeCompleted: Pod resize completed: {`, `"generation":2}`)

	g.resize("main cpu=100m/100m memory=8Mi/16Mi") // less than it uses
	inUse := func(p *v1.Pod) bool { return resizing(p) == "InProgress Error of 3" }
	p = g.until("told that its memory is in use", inUse)
	if why := podCondition(p, v1.PodResizeInProgress).Message; !strings.Contains(why, "its new limit is 16777216") {
		t.Errorf("the condition says %q", why)
	}
	g.sameLimits("main while its memory is in use", g.inCgroup("burstable", "main"), 204, 40000, 96)
	same(t, "what main has while its memory is in use", sizesOf(apiStatus(p, "main")), "cpu=200m/400m memory=32Mi/96Mi")
	g.untilEvents(`ResizeError: Pod resize error: {`)
	m.restart(t)
	g.until("still told so", inUse)
	g.resize("main cpu=100m/100m memory=16Mi/48Mi")
	g.untilSized("main", "cpu=100m/100m memory=16Mi/48Mi")
	g.sameLimits("main with less", g.inCgroup("burstable", "main"), 102, 10000, 48)
	g.sameLimits("the pod with less", g.inCgroup("burstable", ""), 256, 25000, 96)

	g.resize("anew cpu=100m/100m memory=16Mi/16Mi")
	p = g.untilSized("anew", "cpu=100m/100m memory=16Mi/16Mi")
	same(t, "restarts of what needs none for its CPU", apiStatus(p, "anew").RestartCount, 0)
	g.resize("anew cpu=100m/100m memory=24Mi/24Mi")
	p = g.until("running anew with more memory", func(p *v1.Pod) bool {
		s := apiStatus(p, "anew")
		return s.RestartCount == 1 && s.State.Running != nil && sizesOf(s) == "cpu=100m/100m memory=24Mi/24Mi" && resizing(p) == ""
	})
	g.sameLimits("the new instance", g.inCgroup("burstable", "anew"), 102, 10000, 24)
	g.untilEvents(`Killing: Container anew resize requires restart`)
	same(t, "restarts of main", apiStatus(p, "main").RestartCount, 0)

	out, err := g.tryResize("main cpu=100m/100m memory=48Mi/48Mi", "anew cpu=100m/100m memory=24Mi/24Mi", "init:side cpu=100m/100m memory=32Mi/32Mi")
	if err == nil || !strings.Contains(out+err.Error(), "QOS") && !strings.Contains(out+err.Error(), "QoS") { // that would make it guaranteed
		t.Errorf("a resize to another class: %v\n%s", err, out)
	}
}

// A pod that asks for something as a whole is resized as a whole; its containers without limits have the pod's (behaviours 217,
// 230).
func resizeWhole(t *testing.T, m *member) {
	g := m.create(t, m.plane.Namespace(t), "whole", `
spec:
  resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 200m, memory: 64Mi}}
  containers: [{name: main, image: BOX}]
`)
	g.untilReady()
	g.sameLimits("the pod at first", g.inCgroup("burstable", ""), 102, 20000, 64)
	m.kubectl(t, g.ns, "patch", "pod", "whole", "--subresource", "resize", "--patch",
		`{"spec": {"resources": {"requests": {"cpu": "200m", "memory": "32Mi"}, "limits": {"cpu": "400m", "memory": "96Mi"}}}}`)
	g.until("resized as a whole", func(p *v1.Pod) bool {
		if p.Status.Resources == nil || resizing(p) != "" {
			return false
		}
		has, of := p.Status.Resources.Limits[v1.ResourceMemory], p.Status.AllocatedResources[v1.ResourceCPU]
		return has.String() == "96Mi" && of.String() == "200m"
	})
	g.sameLimits("the pod with more", g.inCgroup("burstable", ""), 204, 40000, 96)
	sure := m.create(t, g.ns, "guaranteed",
		"spec: {containers: [{name: main, image: BOX, resources: {limits: {cpu: 100m, memory: 32Mi}}}]}")
	sure.untilReady()
	sure.resize("main cpu=200m/200m memory=32Mi/32Mi")
	sure.untilSized("main", "cpu=200m/200m memory=32Mi/32Mi")
	sure.sameLimits("a guaranteed pod with more", sure.inCgroup("", ""), 204, 20000, 32)
	g.sameLimits("its container with more", g.inCgroup("burstable", "main"), 2, 40000, 96)
}

// A resize that does not fit waits, over a crash of the agent, and is granted as soon as another pod leaves
// (behaviours 222, 223). One that can never fit is refused by an API server of 1.37 itself.
func resizeDeferred(t *testing.T, m *member) {
	all := m.untilReady(t).Status.Allocatable[v1.ResourceCPU]
	ns := m.plane.Namespace(t)
	half := resource.NewMilliQuantity(all.MilliValue()/2, resource.DecimalSI)
	hog := m.create(t, ns, "hog", fmt.Sprintf("spec: {containers: [{name: main, image: BOX, resources: {requests: {cpu: %s}}}]}", half))
	g := m.create(t, ns, "patient", "spec: {containers: [{name: main, image: BOX, resources: {requests: {cpu: 100m, memory: 16Mi}, limits: {memory: 16Mi}}}]}")
	hog.untilReady()
	g.untilReady()
	wish := resource.NewMilliQuantity(all.MilliValue()/2+100, resource.DecimalSI)
	ask := func(cpu string) {
		t.Helper()
		m.kubectl(t, ns, "patch", "pod", "patient", "--subresource", "resize", "--patch",
			`{"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "`+cpu+`"}}}]}}`)
	}
	ask(wish.String())
	waits := func(p *v1.Pod) bool { return resizing(p) == "Pending Deferred of 2" }
	p := g.until("told to wait", waits)
	if why := podCondition(p, v1.PodResizePending).Message; !strings.HasPrefix(why, "Node didn't have enough resource: cpu, requested: ") {
		t.Errorf("the condition says %q", why)
	}
	same(t, "what it has meanwhile", sizesOf(apiStatus(p, "main")), "cpu=100m/0 memory=16Mi/16Mi")
	g.untilEvents("ResizeDeferred: Pod resize Deferred: {")
	m.restart(t)
	eventually(t, func() error {
		out, err := m.bosun(t, "explain", "patient")
		if err == nil && !strings.Contains(out, "resize") {
			err = errors.New("explain does not tell of the resize:\n" + out)
		}
		return err
	})
	g.until("still told to wait", waits)
	hog.remove()
	p = g.untilSized("main", "cpu="+wish.String()+"/0 memory=16Mi/16Mi")
	same(t, "restarts", apiStatus(p, "main").RestartCount, 0)
}
