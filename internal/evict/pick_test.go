package evict

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

const mi, gi = int64(1) << 20, int64(1) << 30

// asks are requests or limits, as resource=amount.
func asks(words ...string) v1.ResourceList {
	list := v1.ResourceList{}
	for _, w := range words {
		name, amount, _ := strings.Cut(w, "=")
		list[v1.ResourceName(name)] = resource.MustParse(amount)
	}
	return list
}

// a is a pod of the API with one container app.
func a(name string, priority int32, requests v1.ResourceList, u Usage) Candidate {
	return Candidate{Usage: u, Pod: &pod.Desired{Source: pod.FromAPI, Wanted: true, Pod: &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Spec:       v1.PodSpec{Priority: &priority, Containers: []v1.Container{{Name: "app", Resources: v1.ResourceRequirements{Requests: requests}}}},
	}}}
}

func names(all []Candidate) string {
	var out []string
	for _, c := range all {
		out = append(out, c.Pod.Pod.Name)
	}
	return strings.Join(out, " ")
}

// on is a usage of the disk by one container, in Mi.
func on(writable, logs, volume int64) Usage {
	return Usage{
		Containers: map[string]ContainerUsage{"app": {Writable: Disk{writable * mi, writable}, Logs: Disk{logs * mi, logs}}},
		Volumes:    map[string]Disk{"data": {volume * mi, volume}},
	}
}

func TestRank(t *testing.T) {
	static := a("static", 0, nil, Usage{Memory: 100 * gi})
	static.Pod.Source = pod.FromFile
	level := a("level", 0, nil, Usage{Memory: 300 * mi})
	level.Pod.Pod.Spec.Resources = &v1.ResourceRequirements{Requests: asks("memory=400Mi")}
	for name, c := range map[string]struct {
		signal Signal
		layout Layout
		pods   []Candidate
		want   string
	}{
		"251 who exceeds goes before lower priorities": {MemoryAvailable, One, []Candidate{
			a("within", -10, asks("memory=1Gi"), Usage{Memory: 900 * mi}), a("beyond", 10, asks("memory=100Mi"), Usage{Memory: 101 * mi}),
		}, "beyond within"},
		"251 then priority, then what is beyond the request": {PodsMemory, One, []Candidate{
			a("most", 5, asks("memory=1Gi"), Usage{Memory: 3 * gi}), a("more", 5, nil, Usage{Memory: gi}), a("least", 1, nil, Usage{Memory: mi}),
		}, "least most more"},
		"251 within the request, too": {MemoryAvailable, One, []Candidate{
			a("far", 0, asks("memory=2Gi"), Usage{Memory: gi}), a("near", 0, asks("memory=2Gi"), Usage{Memory: 2*gi - 1}),
		}, "near far"},
		"251 as much as asked for is not more": {MemoryAvailable, One, []Candidate{
			a("equal", 0, asks("memory=1Gi"), Usage{Memory: gi}), a("beyond", 9, nil, Usage{Memory: mi}),
		}, "beyond equal"},
		"252 12 critical pods are skipped": {MemoryAvailable, One, []Candidate{
			static, a("system", 2000000000, nil, Usage{Memory: 50 * gi}), a("user", 0, nil, Usage{}),
		}, "user"},
		"217 what the pod as a whole asked for counts": {MemoryAvailable, One, []Candidate{
			level, a("small", 0, asks("memory=100Mi"), Usage{Memory: 150 * mi}),
		}, "small level"},
		"251 process numbers: priority, then number": {PIDAvailable, One, []Candidate{
			a("few", 0, nil, Usage{Processes: 5, Memory: gi}), a("many", 0, nil, Usage{Processes: 50}), a("high", 1, nil, Usage{Processes: 5000}),
		}, "many few high"},
		"251 257 the disk, all of it": {NodeFSAvailable, One, []Candidate{
			a("logs", 0, nil, on(1, 5, 1)), a("writes", 0, nil, on(9, 0, 0)), a("volumes", 0, nil, on(0, 0, 8)), a("asked", 0, asks("ephemeral-storage=1Gi"), on(100, 100, 100)),
		}, "writes volumes logs asked"},
		"257 the node's disk beside the images'": {NodeFSAvailable, Dedicated, []Candidate{
			a("writes", 0, nil, on(9, 1, 0)), a("logs", 0, nil, on(0, 5, 0)), a("volumes", 0, nil, on(0, 0, 8)),
		}, "volumes logs writes"},
		"257 the images' disk": {ImageFSAvailable, Dedicated, []Candidate{
			a("logs", 0, nil, on(1, 5, 0)), a("writes", 0, nil, on(9, 0, 0)), a("volumes", 0, nil, on(0, 0, 8)),
		}, "writes logs volumes"},
		"257 the node's disk with the containers on it": {NodeFSAvailable, Split, []Candidate{
			a("logs", 0, nil, on(0, 5, 0)), a("writes", 0, nil, on(9, 0, 0)),
		}, "writes logs"},
		"257 the images' disk without containers": {ImageFSAvailable, Split, []Candidate{
			a("writes", 1, nil, on(9, 9, 9)), a("idle", 0, nil, on(0, 0, 0)),
		}, "idle writes"},
		"251 inodes": {NodeFSInodesFree, One, []Candidate{
			a("big", 0, nil, Usage{Volumes: map[string]Disk{"v": {gi, 1}}}), a("many", 0, nil, Usage{Volumes: map[string]Disk{"v": {1, 1000}}}),
		}, "many big"},
		"nobody": {MemoryAvailable, One, []Candidate{static}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := names(Rank(c.signal, c.layout, c.pods)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestSteps(t *testing.T) {
	for name, c := range map[string]struct {
		signal Signal
		layout Layout
		want   [2]bool // ended containers, unused images
	}{
		"250 one disk":                            {NodeFSAvailable, One, [2]bool{true, true}},
		"250 one disk, by its other name":         {ImageFSInodesFree, One, [2]bool{true, true}},
		"250 the node's, beside that of images":   {NodeFSAvailable, Dedicated, [2]bool{false, false}},
		"250 that of images and containers":       {ImageFSAvailable, Dedicated, [2]bool{true, true}},
		"250 the node's, with containers":         {NodeFSInodesFree, Split, [2]bool{true, false}},
		"250 that of images alone":                {ImageFSAvailable, Split, [2]bool{false, true}},
		"250 memory has nothing to clear away":    {MemoryAvailable, One, [2]bool{false, false}},
		"250 neither have process numbers":        {PIDAvailable, One, [2]bool{false, false}},
		"250 nor has the memory of pods together": {PodsMemory, One, [2]bool{false, false}},
	} {
		containers, images := Steps(c.signal, c.layout)
		if got := [2]bool{containers, images}; got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func shortOf(s Signal, least string, available, capacity int64) Shortage {
	amount, err := parseAmount(least)
	if err != nil {
		panic(err)
	}
	return Shortage{Threshold: Threshold{Signal: s, Least: amount}, Reading: Reading{Available: available, Capacity: capacity}}
}

func TestEvict(t *testing.T) {
	soft := shortOf(MemoryAvailable, "1Gi", gi/2, 8*gi)
	soft.Soft = true
	patient := a("web", 0, nil, Usage{})
	patient.Pod.Pod.Spec.TerminationGracePeriodSeconds = new(int64(20))
	two := a("web", 0, asks("memory=100Mi"), Usage{Containers: map[string]ContainerUsage{
		"app": {Memory: 150 * mi}, "init": {Memory: 99}, "log": {Memory: 10 * mi},
	}})
	two.Pod.Pod.Spec.InitContainers = []v1.Container{{Name: "init"}}
	two.Pod.Pod.Spec.Containers = append(two.Pod.Pod.Spec.Containers, v1.Container{Name: "log", Resources: v1.ResourceRequirements{Requests: asks("memory=10Mi")}})
	for name, c := range map[string]struct {
		settings    Settings
		short       Shortage
		of          Candidate
		grace       time.Duration
		message     string
		annotations string
	}{
		"253 memory": {Settings{MostGrace: time.Minute}, shortOf(MemoryAvailable, "100Mi", 50*mi, 8*gi), two, time.Second,
			"The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. " +
				"Container init was using 99, request is 0, has larger consumption of memory. " +
				"Container app was using 150Mi, request is 100Mi, has larger consumption of memory. ",
			"memory|init,app|99,150Mi"},
		"253 disk": {Settings{}, shortOf(NodeFSAvailable, "10%", 52572*1024, 21462233088), a("web", 0, asks("ephemeral-storage=1Mi"), on(2, 1, 7)), time.Second,
			"The node was low on resource: ephemeral-storage. Threshold quantity: 2146223340, available: 52572Ki. " +
				"Container app was using 3Mi, request is 1Mi, has larger consumption of ephemeral-storage. ",
			"ephemeral-storage|app|3Mi"},
		"253 inodes": {Settings{}, shortOf(ImageFSInodesFree, "5%", 1234, 100000), a("web", 0, nil, on(2, 1, 7)), time.Second,
			"The node was low on resource: inodes. Threshold quantity: 5k, available: 1234. ", "inodes||"},
		"253 process numbers": {Settings{}, shortOf(PIDAvailable, "1000", 999, 32768), a("web", 0, nil, Usage{Processes: 30000}), time.Second,
			"The node was low on resource: pids. Threshold quantity: 1k, available: 999. ", "pids||"},
		"247 soft, the pod's own grace":          {Settings{MostGrace: time.Minute}, soft, patient, 20 * time.Second, "The node was low on resource: memory. Threshold quantity: 1Gi, available: 512Mi. ", "memory||"},
		"247 soft, evictionMaxPodGracePeriod":    {Settings{MostGrace: 5 * time.Second}, soft, patient, 5 * time.Second, "The node was low on resource: memory. Threshold quantity: 1Gi, available: 512Mi. ", "memory||"},
		"247 soft, a second at the very least":   {Settings{}, soft, patient, time.Second, "The node was low on resource: memory. Threshold quantity: 1Gi, available: 512Mi. ", "memory||"},
		"253 the pods' memory has the same name": {Settings{}, shortOf(PodsMemory, "100Mi", 0, gi), patient, time.Second, "The node was low on resource: memory. Threshold quantity: 100Mi, available: 0. ", "memory||"},
	} {
		t.Run(name, func(t *testing.T) {
			v := c.settings.Evict(c.short, c.of)
			notes := strings.Join([]string{v.Order.Annotations[starvedResource], v.Order.Annotations[offendingContainers], v.Order.Annotations[offendingUsage]}, "|")
			want := &plan.Order{Reason: "Evicted", Message: c.message, Grace: c.grace, Annotations: v.Order.Annotations}
			if diff := cmp.Diff(want, v.Order); diff != "" || notes != c.annotations || v.Signal != string(c.short.Signal) || v.UID != "web" {
				t.Errorf("%s\nannotations %s, want %s; signal %s", diff, notes, c.annotations, v.Signal)
			}
		})
	}
}

func TestOverfull(t *testing.T) {
	volume := func(name, limit string, medium v1.StorageMedium) v1.Volume {
		e := &v1.EmptyDirVolumeSource{Medium: medium}
		if limit != "" {
			e.SizeLimit = new(resource.MustParse(limit))
		}
		return v1.Volume{Name: name, VolumeSource: v1.VolumeSource{EmptyDir: e}}
	}
	with := func(u Usage, limits v1.ResourceList, volumes ...v1.Volume) Candidate {
		c := a("web", 0, nil, u)
		c.Pod.Pod.Spec.Volumes = volumes
		c.Pod.Pod.Spec.Containers[0].Resources.Limits = limits
		return c
	}
	spared := with(on(0, 0, 20), nil, volume("data", "10Mi", ""))
	spared.Pod.Source = pod.FromURL
	unlimited := with(on(10, 10, 10), asks("ephemeral-storage=25Mi"))
	unlimited.Pod.Pod.Spec.Containers = append(unlimited.Pod.Pod.Spec.Containers, v1.Container{Name: "other", Resources: v1.ResourceRequirements{Limits: asks("ephemeral-storage=1Gi")}})
	all, volumes := Parts{true, true, true}, Parts{Volumes: true}
	for name, c := range map[string]struct {
		of              Candidate
		measured        Parts
		signal, message string
	}{
		"255 an emptyDir":                      {with(on(0, 0, 11), nil, volume("data", "10Mi", "")), volumes, "emptydirfs.limit", `Usage of EmptyDir volume "data" exceeds the limit "10Mi". `},
		"255 an emptyDir that is just full":    {with(on(0, 0, 10), nil, volume("data", "10Mi", "")), volumes, "", ""},
		"255 an emptyDir without limit":        {with(on(0, 0, 10), nil, volume("data", "", "")), Parts{}, "", ""},
		"255 one in memory limits itself":      {with(on(0, 0, 20), nil, volume("data", "10Mi", v1.StorageMediumMemory)), Parts{}, "", ""},
		"255 no limit is none":                 {with(on(0, 0, 20), nil, volume("data", "0", "")), Parts{}, "", ""},
		"255 a container":                      {unlimited, all, "", ""},
		"255 a container beyond its limit":     {with(on(20, 6, 0), asks("ephemeral-storage=25Mi")), all, "ephemeralpodfs.limit", "Pod ephemeral local storage usage exceeds the total limit of containers 25Mi. "},
		"255 a pod by its volumes":             {with(on(10, 5, 11), asks("ephemeral-storage=25Mi")), all, "ephemeralpodfs.limit", "Pod ephemeral local storage usage exceeds the total limit of containers 25Mi. "},
		"255 logs and files just at the limit": {with(on(20, 5, 0), asks("ephemeral-storage=25Mi")), all, "", ""},
		"12 255 a critical pod is spared":      {spared, Parts{}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Limited(c.of.Pod); got != c.measured {
				t.Errorf("to be measured: %+v, want %+v", got, c.measured)
			}
			v, goes := Overfull(c.of)
			switch {
			case goes != (c.message != ""):
				t.Errorf("goes: %v: %+v", goes, v)
			case goes && (v.Order.Message != c.message || v.Signal != c.signal || !v.Order.Own || v.Order.Grace != time.Second || v.Order.Reason != "Evicted"):
				t.Errorf("%s: %+v", v.Signal, v.Order)
			}
		})
	}
	unlimited.Usage.Containers["app"] = ContainerUsage{Writable: Disk{Bytes: 20 * mi}, Logs: Disk{Bytes: 6 * mi}}
	if v, goes := Overfull(unlimited); !goes || v.Signal != "ephemeralcontainerfs.limit" || v.Order.Message != `Container app exceeded its local ephemeral storage limit "25Mi". ` {
		t.Errorf("255 one container of two: %+v", v)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"100Mi", "5%", "0%", "100%", "-1", "1e30", "NaN%", "", "0x1%", "1e-400%"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse(Texts{Hard: map[string]string{"memory.available": text}, Reclaim: map[string]string{"memory.available": text}}, true)
		if err != nil && len(all) > 0 {
			t.Fatalf("%q: %v and %v", text, all, err)
		}
		for _, th := range all {
			if least := th.Least.Of(th.Signal, 1000*gi); least.Sign() < 0 {
				t.Fatalf("%q is %s", text, least.String())
			}
		}
	})
}
