package qos_test

import (
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/qos"
)

const gi = int64(1) << 30

func list(kv ...string) v1.ResourceList {
	l := v1.ResourceList{}
	for i := 0; i+1 < len(kv); i += 2 {
		l[v1.ResourceName(kv[i])] = resource.MustParse(kv[i+1])
	}
	return l
}

func container(name string, requests, limits v1.ResourceList) v1.Container {
	return v1.Container{Name: name, Resources: v1.ResourceRequirements{Requests: requests, Limits: limits}}
}

func sidecar(name string, requests, limits v1.ResourceList) v1.Container {
	c := container(name, requests, limits)
	always := v1.ContainerRestartPolicyAlways
	c.RestartPolicy = &always
	return c
}

func of(cs ...v1.Container) *v1.Pod { return &v1.Pod{Spec: v1.PodSpec{Containers: cs}} }

func withInit(p *v1.Pod, cs ...v1.Container) *v1.Pod {
	p.Spec.InitContainers = cs
	return p
}

func withPodLevel(p *v1.Pod, requests, limits v1.ResourceList) *v1.Pod {
	p.Spec.Resources = &v1.ResourceRequirements{Requests: requests, Limits: limits}
	return p
}

func TestClassOf(t *testing.T) {
	full := list("cpu", "1", "memory", "1Gi")
	for name, c := range map[string]struct {
		pod  *v1.Pod
		want v1.PodQOSClass
	}{
		"199 nothing asked":                          {of(container("a", nil, nil)), v1.PodQOSBestEffort},
		"199 limits equal requests":                  {of(container("a", full, full)), v1.PodQOSGuaranteed},
		"199 limits alone default the requests":      {of(container("a", nil, full)), v1.PodQOSGuaranteed},
		"199 equal quantities in other words":        {of(container("a", list("cpu", "1000m", "memory", "1024Mi"), full)), v1.PodQOSGuaranteed},
		"199 a request only":                         {of(container("a", list("cpu", "1m"), nil)), v1.PodQOSBurstable},
		"199 cpu limit without memory limit":         {of(container("a", nil, list("cpu", "1"))), v1.PodQOSBurstable},
		"199 request below limit":                    {of(container("a", list("cpu", "500m"), full)), v1.PodQOSBurstable},
		"199 one guaranteed, one without":            {of(container("a", full, full), container("b", nil, nil)), v1.PodQOSBurstable},
		"199 an init container without":              {withInit(of(container("a", full, full)), container("i", nil, nil)), v1.PodQOSBurstable},
		"199 an init container with":                 {withInit(of(container("a", full, full)), container("i", full, full)), v1.PodQOSGuaranteed},
		"199 only an init container asks":            {withInit(of(container("a", nil, nil)), container("i", full, full)), v1.PodQOSBurstable},
		"199 zero counts as nothing":                 {of(container("a", list("cpu", "0"), list("memory", "0"))), v1.PodQOSBestEffort},
		"199 other resources do not count":           {of(container("a", list("ephemeral-storage", "1Gi"), list("example.com/gpu", "1"))), v1.PodQOSBestEffort},
		"199 pod-level equal decides alone":          {withPodLevel(of(container("a", nil, nil)), full, full), v1.PodQOSGuaranteed},
		"199 pod-level lacking memory decides alone": {withPodLevel(of(container("a", full, full)), list("cpu", "1"), list("cpu", "1")), v1.PodQOSBurstable},
		"199 pod-level empty does not decide":        {withPodLevel(of(container("a", full, full)), nil, nil), v1.PodQOSGuaranteed},
		"199 status is not believed": {func() *v1.Pod {
			p := of(container("a", full, full))
			p.Status.QOSClass = v1.PodQOSBestEffort
			return p
		}(), v1.PodQOSGuaranteed},
	} {
		t.Run(name, func(t *testing.T) {
			if got := qos.ClassOf(c.pod); got != c.want {
				t.Errorf("ClassOf = %s, want %s", got, c.want)
			}
		})
	}
}

func TestCritical(t *testing.T) {
	priority := func(n int32) *v1.Pod { p := of(); p.Spec.Priority = &n; return p }
	mirror := of()
	mirror.Annotations = map[string]string{names.ConfigMirror: "abc"}
	for name, c := range map[string]struct {
		d    pod.Desired
		want bool
	}{
		"12 from a file":          {pod.Desired{Pod: of(), Source: pod.FromFile}, true},
		"12 from a URL":           {pod.Desired{Pod: of(), Source: pod.FromURL}, true},
		"12 from the API":         {pod.Desired{Pod: of(), Source: pod.FromAPI}, false},
		"12 found in runtime":     {pod.Desired{Pod: of(), Source: pod.FromRuntime}, false},
		"12 mirror":               {pod.Desired{Pod: mirror, Source: pod.FromAPI}, true},
		"12 priority at limit":    {pod.Desired{Pod: priority(2000000000), Source: pod.FromAPI}, true},
		"12 priority just below":  {pod.Desired{Pod: priority(1999999999), Source: pod.FromAPI}, false},
		"12 static, low priority": {pod.Desired{Pod: priority(-5), Source: pod.FromFile}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := qos.Critical(&c.d); got != c.want {
				t.Errorf("Critical = %v, want %v", got, c.want)
			}
		})
	}
}

func TestSums(t *testing.T) {
	overhead := of(container("a", list("cpu", "100m"), list("cpu", "200m")))
	overhead.Spec.Overhead = list("cpu", "50m", "memory", "10Mi")
	for name, c := range map[string]struct {
		sum  func(*v1.Pod) v1.ResourceList
		pod  *v1.Pod
		want v1.ResourceList
	}{
		"33 requests add up": {qos.Requests, of(container("a", list("cpu", "100m"), nil), container("b", list("cpu", "200m", "memory", "1Mi"), nil)),
			list("cpu", "300m", "memory", "1Mi")},
		"33 a big init container": {qos.Requests, withInit(of(container("a", list("cpu", "100m"), nil)), container("i", list("cpu", "1"), nil)),
			list("cpu", "1")},
		"112 an init container runs beside earlier sidecars": {qos.Requests,
			withInit(of(container("a", list("cpu", "100m"), nil)), sidecar("s", list("cpu", "300m"), nil), container("i", list("cpu", "200m"), nil)),
			list("cpu", "500m")},
		"112 a sidecar after the init container": {qos.Requests,
			withInit(of(container("a", list("cpu", "100m"), nil)), container("i", list("cpu", "200m"), nil), sidecar("s", list("cpu", "300m"), nil)),
			list("cpu", "400m")},
		"56 overhead in requests":         {qos.Requests, overhead, list("cpu", "150m", "memory", "10Mi")},
		"56 overhead in limits there are": {qos.Limits, overhead, list("cpu", "250m")},
		"56 without overhead":             {qos.RequestsBare, overhead, list("cpu", "100m")},
		"56 limits without overhead":      {qos.LimitsBare, overhead, list("cpu", "200m")},
		"217 pod-level requests": {qos.Requests, withPodLevel(of(container("a", list("cpu", "100m", "memory", "1Mi"), nil)), list("cpu", "2"), nil),
			list("cpu", "2", "memory", "1Mi")},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.sum(c.pod)
			for r, want := range c.want {
				if q := got[r]; q.Cmp(want) != 0 {
					t.Errorf("%s = %s, want %s", r, q.String(), want.String())
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestLimited(t *testing.T) {
	cpu := list("cpu", "1")
	for name, c := range map[string]struct {
		pod  *v1.Pod
		want bool
	}{
		"205 every container":        {of(container("a", nil, cpu), container("b", nil, cpu)), true},
		"205 not every container":    {of(container("a", nil, cpu), container("b", nil, nil)), false},
		"205 not the init container": {withInit(of(container("a", nil, cpu)), container("i", nil, nil)), false},
		"205 pod-level":              {withPodLevel(of(container("a", nil, nil)), nil, cpu), true},
		"205 zero is no limit":       {of(container("a", nil, list("cpu", "0"))), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := qos.Limited(c.pod, v1.ResourceCPU); got != c.want {
				t.Errorf("Limited = %v, want %v", got, c.want)
			}
		})
	}
}

func TestLimitOf(t *testing.T) {
	p := withPodLevel(of(container("a", nil, list("cpu", "1")), container("b", nil, nil)), nil, list("cpu", "3", "ephemeral-storage", "1Gi"))
	if l := qos.LimitOf(p, &p.Spec.Containers[0], v1.ResourceCPU); l == nil || l.String() != "1" {
		t.Errorf("217 own limit: %v, want 1", l)
	}
	if l := qos.LimitOf(p, &p.Spec.Containers[1], v1.ResourceCPU); l == nil || l.String() != "3" {
		t.Errorf("217 limit of the pod: %v, want 3", l)
	}
	if l := qos.LimitOf(p, &p.Spec.Containers[1], v1.ResourceMemory); l != nil {
		t.Errorf("217 no limit: %v, want nil", l)
	}
	if l := qos.LimitOf(p, &p.Spec.Containers[1], v1.ResourceEphemeralStorage); l != nil {
		t.Errorf("217 not a pod-level resource: %v, want nil", l)
	}
}

func TestOOMScoreAdj(t *testing.T) {
	full := list("cpu", "1", "memory", "1Gi")
	mem := func(s string) v1.ResourceList { return list("memory", s) }
	nodeCritical := of(container("a", nil, nil))
	nodeCritical.Spec.PriorityClassName = "system-node-critical"
	byValue, value := of(container("a", nil, nil)), int32(2000001000)
	byValue.Spec.Priority = &value
	for name, c := range map[string]struct {
		pod       *v1.Pod
		container string
		want      int64
	}{
		"88 guaranteed":                         {of(container("a", full, full)), "a", -997},
		"88 best effort":                        {of(container("a", nil, nil)), "a", 1000},
		"88 burstable, a quarter":               {of(container("a", mem("1Gi"), nil)), "a", 750},
		"88 burstable, all of it":               {of(container("a", mem("4Gi"), nil)), "a", 3},
		"88 burstable, more than all":           {of(container("a", mem("4Ei"), nil)), "a", 3},
		"88 burstable, no memory request":       {of(container("a", list("cpu", "1"), nil)), "a", 999},
		"88 burstable, next to nothing":         {of(container("a", mem("1"), nil)), "a", 999},
		"88 node-critical by class":             {nodeCritical, "a", -997},
		"88 node-critical by value":             {byValue, "a", -997},
		"88 sidecar as low as the lowest":       {withInit(of(container("a", mem("2Gi"), nil), container("b", nil, nil)), sidecar("s", nil, nil)), "s", 500},
		"88 sidecar lower by itself":            {withInit(of(container("a", mem("1Gi"), nil)), sidecar("s", mem("2Gi"), nil)), "s", 500},
		"88 init container keeps its own":       {withInit(of(container("a", mem("2Gi"), nil)), container("i", nil, nil)), "i", 999},
		"88 pod-level request shared":           {withPodLevel(of(container("a", nil, nil), container("b", nil, nil)), mem("2Gi"), nil), "b", 750},
		"88 pod-level rest shared with sidecar": {withInit(withPodLevel(of(container("a", mem("1Gi"), nil)), mem("3Gi"), nil), sidecar("s", nil, nil)), "a", 500},
	} {
		t.Run(name, func(t *testing.T) {
			found, _ := pod.FindContainer(c.pod, c.container)
			if got := qos.OOMScoreAdj(c.pod, found, 4*gi); got != c.want {
				t.Errorf("OOMScoreAdj = %d, want %d", got, c.want)
			}
		})
	}
	t.Run("88 unknown capacity", func(t *testing.T) {
		p := of(container("a", mem("1Gi"), nil))
		if got := qos.OOMScoreAdj(p, &p.Spec.Containers[0], 0); got != 999 {
			t.Errorf("OOMScoreAdj = %d, want 999", got)
		}
	})
}

func TestPriority(t *testing.T) {
	for name, c := range map[string]struct {
		spec v1.PodSpec
		want int32
	}{
		"none":                      {want: 0},
		"worked out":                {v1.PodSpec{Priority: new(int32(-7)), PriorityClassName: "system-node-critical"}, -7},
		"node critical":             {v1.PodSpec{PriorityClassName: "system-node-critical"}, 2000001000},
		"cluster critical":          {v1.PodSpec{PriorityClassName: "system-cluster-critical"}, 2000000000},
		"a class that nobody knows": {v1.PodSpec{PriorityClassName: "gold"}, 0},
	} {
		if got := qos.Priority(&v1.Pod{Spec: c.spec}); got != c.want {
			t.Errorf("%s: priority %d, want %d", name, got, c.want)
		}
	}
}
