package cgroup

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// list reads "cpu=100m memory=1Gi".
func list(text string) v1.ResourceList {
	if text == "" {
		return nil
	}
	out := v1.ResourceList{}
	for part := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(part, "=")
		out[v1.ResourceName(name)] = resource.MustParse(value)
	}
	return out
}

// ctr makes a container of "requests / limits".
func ctr(text string) v1.Container {
	requests, limits, _ := strings.Cut(text, "/")
	return v1.Container{Resources: v1.ResourceRequirements{Requests: list(requests), Limits: list(limits)}}
}

func podOf(containers ...string) *v1.Pod {
	p := &v1.Pod{}
	p.UID, p.Name, p.Namespace = "uid-1", "web", "default"
	for _, c := range containers {
		if text, ok := strings.CutPrefix(c, "init:"); ok {
			p.Spec.InitContainers = append(p.Spec.InitContainers, ctr(text))
		} else if text, ok := strings.CutPrefix(c, "pod:"); ok {
			r := ctr(text).Resources
			p.Spec.Resources = &r
		} else if text, ok := strings.CutPrefix(c, "overhead:"); ok {
			p.Spec.Overhead = list(text)
		} else {
			p.Spec.Containers = append(p.Spec.Containers, ctr(c))
		}
	}
	return p
}

func TestPodResources(t *testing.T) {
	node := Options{PidsLimit: 100, PageSizes: []string{"2MB", "1GB"}}
	none := map[string]int64{"2MB": 0, "1GB": 0}
	for _, c := range []struct {
		name string
		pod  *v1.Pod
		opts Options
		want Resources
	}{
		{"best effort", podOf("", ""), node, Resources{CPUShares: 2, CPUQuota: -1, Memory: -1, Pids: 100, Hugetlb: none}},
		{"guaranteed", podOf("/cpu=500m memory=64Mi", "/cpu=1 memory=64Mi"), node,
			Resources{CPUShares: 2, CPUQuota: 150000, Memory: 128 << 20, Pids: 100, Hugetlb: none}},
		{"requests and limits", podOf("cpu=250m memory=32Mi/cpu=500m memory=64Mi", "cpu=250m/cpu=500m memory=64Mi"), node,
			Resources{CPUShares: 512, CPUQuota: 100000, Memory: 128 << 20, Pids: 100, Hugetlb: none}},
		{"one without a cpu limit", podOf("cpu=1/cpu=1 memory=1Gi", "cpu=1/memory=1Gi"), node,
			Resources{CPUShares: 2048, CPUQuota: -1, Memory: 2 << 30, Pids: 100, Hugetlb: none}},
		{"one without a memory limit", podOf("cpu=1/cpu=1 memory=1Gi", "cpu=1/cpu=1"), node,
			Resources{CPUShares: 2048, CPUQuota: 200000, Memory: -1, Pids: 100, Hugetlb: none}},
		{"init container without limits", podOf("init:cpu=1", "cpu=1/cpu=1 memory=1Gi"), node,
			Resources{CPUShares: 1024, CPUQuota: -1, Memory: -1, Pids: 100, Hugetlb: none}},
		{"larger init container", podOf("init:cpu=3/cpu=3 memory=3Gi", "cpu=1/cpu=1 memory=1Gi"), node,
			Resources{CPUShares: 3072, CPUQuota: 300000, Memory: 3 << 30, Pids: 100, Hugetlb: none}},
		{"overhead", podOf("overhead:cpu=100m memory=16Mi", "cpu=900m memory=16Mi/cpu=900m memory=16Mi"), node,
			Resources{CPUShares: 1024, CPUQuota: 100000, Memory: 32 << 20, Pids: 100, Hugetlb: none}},
		{"pod level limit", podOf("pod:cpu=1 memory=1Gi/cpu=2 memory=2Gi", "cpu=500m", ""), node,
			Resources{CPUShares: 1024, CPUQuota: 200000, Memory: 2 << 30, Pids: 100, Hugetlb: none}},
		{"huge pages", podOf("cpu=1 hugepages-2Mi=4Mi/cpu=1 hugepages-2Mi=4Mi memory=1Gi", "cpu=1 hugepages-2Mi=2Mi/hugepages-2Mi=2Mi"), node,
			Resources{CPUShares: 2048, CPUQuota: -1, Memory: -1, Pids: 100, Hugetlb: map[string]int64{"2MB": 6 << 20, "1GB": 0}}},
		{"quota off", podOf("cpu=1 memory=1Gi/cpu=1 memory=1Gi"), Options{NoQuota: true, PidsLimit: -1},
			Resources{CPUShares: 1024, CPUQuota: -1, Memory: 1 << 30, Pids: -1, Hugetlb: map[string]int64{}}},
		{"other period", podOf("cpu=1 memory=1Gi/cpu=1 memory=1Gi"), Options{CPUPeriod: 10000},
			Resources{CPUShares: 1024, CPUQuota: 10000, CPUPeriod: 10000, Memory: 1 << 30, Pids: -1, Hugetlb: map[string]int64{}}},
		{"tiny limit", podOf("cpu=1m memory=1Mi/cpu=1m memory=1Mi"), Options{},
			Resources{CPUShares: 2, CPUQuota: 1000, Memory: 1 << 20, Pids: -1, Hugetlb: map[string]int64{}}},
		{"212 reserved, guaranteed", podOf("cpu=1 memory=64Mi/cpu=1 memory=64Mi", "cpu=1 memory=64Mi/cpu=1 memory=64Mi"), Options{Reserve: true},
			Resources{CPUShares: 2048, CPUQuota: 200000, Memory: 128 << 20, Pids: -1, Hugetlb: map[string]int64{}, Unified: map[string]string{"memory.min": "134217728"}}},
		{"212 reserved, burstable, with overhead", podOf("overhead:memory=1Mi", "memory=64Mi", ""), Options{Reserve: true},
			Resources{CPUShares: 2, CPUQuota: -1, Memory: -1, Pids: -1, Hugetlb: map[string]int64{}, Unified: map[string]string{"memory.low": "68157440"}}},
		{"212 reserved, burstable by its processors", podOf("cpu=1"), Options{Reserve: true},
			Resources{CPUShares: 1024, CPUQuota: -1, Memory: -1, Pids: -1, Hugetlb: map[string]int64{}}},
		{"212 reserved, best effort", podOf(""), Options{Reserve: true}, Resources{CPUShares: 2, CPUQuota: -1, Memory: -1, Pids: -1, Hugetlb: map[string]int64{}}},
		{"212 reserved, of the pod as a whole", podOf("pod:cpu=1 memory=1Gi/cpu=1 memory=1Gi", ""), Options{Reserve: true},
			Resources{CPUShares: 1024, CPUQuota: 100000, Memory: 1 << 30, Pids: -1, Hugetlb: map[string]int64{}, Unified: map[string]string{"memory.min": "1073741824"}}},
	} {
		if diff := cmp.Diff(c.want, PodResources(c.pod, c.opts)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", c.name, diff)
		}
	}
}

func TestShares(t *testing.T) {
	for milli, want := range map[int64]uint64{-1: 2, 0: 2, 1: 2, 2: 2, 3: 3, 100: 102, 250: 256, 1000: 1024, 1500: 1536, 256000: 262144, 1 << 62: 262144} {
		if got := Shares(milli); got != want {
			t.Errorf("Shares(%d) = %d, want %d", milli, got, want)
		}
	}
}

func TestQuota(t *testing.T) {
	for _, c := range []struct {
		milli  int64
		period uint64
		want   int64
	}{{0, 0, -1}, {1, 0, 1000}, {10, 0, 1000}, {11, 0, 1100}, {1000, 0, 100000}, {1500, 10000, 15000}, {100, 1000, 1000}} {
		if got := Quota(c.milli, c.period); got != c.want {
			t.Errorf("Quota(%d, %d) = %d, want %d", c.milli, c.period, got, c.want)
		}
	}
}

func TestWeight(t *testing.T) {
	for shares, want := range map[uint64]uint64{0: 1, 2: 1, 102: 4, 256: 10, 512: 20, 1024: 39, 2048: 79, 262144: 10000, 1 << 40: 10000} {
		if got := Weight(shares); got != want {
			t.Errorf("Weight(%d) = %d, want %d", shares, got, want)
		}
	}
}

func TestBurstableShares(t *testing.T) {
	pods := []*v1.Pod{podOf("cpu=250m"), podOf("/cpu=4 memory=1Gi"), podOf(""), podOf("cpu=750m", "memory=1Gi")}
	if got := BurstableShares(pods); got != 1024 {
		t.Errorf("shares %d, want 1024 (burstable pods only)", got)
	}
	if got := BurstableShares(nil); got != 2 {
		t.Errorf("without pods: shares %d, want 2", got)
	}
}

func TestNodeResources(t *testing.T) {
	got := NodeResources(list("cpu=4 memory=8Gi pid=1000"), list("cpu=500m memory=1Gi pid=100"), list("cpu=500m memory=1Gi"))
	want := Resources{CPUShares: 3072, Memory: 6 << 30, Pids: 900}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got = NodeResources(list("cpu=1 memory=1Gi"), list("cpu=2 memory=2Gi"), nil)
	if got.CPUShares != 2 || got.Memory != 0 {
		t.Errorf("reserved more than there is: %+v", got)
	}
}

func TestReserveResources(t *testing.T) {
	reserved := list("cpu=500m memory=1Gi pid=100 ephemeral-storage=1Gi")
	for _, c := range []struct{ got, want Resources }{
		{ReserveResources(reserved, false, false), Resources{CPUShares: 512, Memory: 1 << 30, Pids: 100}},
		{ReserveResources(reserved, true, true), Resources{CPUShares: 512}},
		{ReserveResources(list("memory=1Gi"), false, false), Resources{Memory: 1 << 30}},
		{ReserveResources(list("memory=1Gi"), false, true), Resources{Memory: 1 << 30, Unified: map[string]string{"memory.min": "1073741824"}}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestPageSize(t *testing.T) {
	for bytes, want := range map[int64]string{64 << 10: "64KB", 2 << 20: "2MB", 1 << 30: "1GB", 512 << 20: "512MB", 16 << 30: "16GB"} {
		if got := PageSize(bytes); got != want {
			t.Errorf("PageSize(%d) = %s, want %s", bytes, got, want)
		}
	}
}

func TestSettings(t *testing.T) {
	all := Resources{CPUShares: 512, CPUQuota: 50000, Memory: 1 << 20, Pids: 10, Hugetlb: map[string]int64{"2MB": 0}, Unified: map[string]string{"memory.high": "5"}}
	lifted := Resources{CPUShares: 1024, CPUQuota: -1, Memory: -1, Pids: -1, Hugetlb: map[string]int64{"2MB": -1}}
	for _, c := range []struct {
		name     string
		settings []setting
		want     string
	}{
		{"v1 all", settingsV1(all, true), "cpu.shares=512 cpu.cfs_quota_us=50000 memory.limit_in_bytes=1048576 pids.max=10 hugetlb.2MB.limit_in_bytes=0"},
		{"v1 all, not fresh", settingsV1(all, false), "cpu.shares=512 cpu.cfs_period_us=100000 cpu.cfs_quota_us=50000 memory.limit_in_bytes=1048576 pids.max=10 hugetlb.2MB.limit_in_bytes=0"},
		{"v1 lifted", settingsV1(lifted, false), "cpu.shares=1024 cpu.cfs_quota_us=-1 memory.limit_in_bytes=-1 pids.max=max hugetlb.2MB.limit_in_bytes=-1"},
		{"v1 lifted, fresh", settingsV1(lifted, true), ""},
		{"v1 nothing", settingsV1(Resources{}, false), ""},
		{"v2 all", settingsV2(all, true), "cpu.weight=20 cpu.max=50000 100000 memory.max=1048576 pids.max=10 hugetlb.2MB.max=0 memory.high=5"},
		{"v2 lifted", settingsV2(lifted, false), "cpu.weight=39 cpu.max=max 100000 memory.max=max pids.max=max hugetlb.2MB.max=max"},
		{"v2 lifted, fresh", settingsV2(lifted, true), "cpu.weight=39"},
		{"v2 nothing", settingsV2(Resources{}, false), ""},
	} {
		var parts []string
		for _, s := range c.settings {
			parts = append(parts, s.file+"="+s.value)
		}
		if got := strings.Join(parts, " "); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func TestSlice(t *testing.T) {
	n := Name{}.Pod(v1.PodQOSBurstable, "a-b")
	r := Resources{CPUShares: 1024, CPUQuota: 50000, Memory: 1 << 20, Pids: -1}
	v2 := slicesOverDBus{v2: true}.slice(n, r)
	if v2.Name != "kubepods-burstable-poda_b.slice" || v2.Parent != "kubepods-burstable.slice" || !v2.Systemd {
		t.Errorf("slice %q in %q", v2.Name, v2.Parent)
	}
	if v2.CpuWeight != 39 || v2.CpuShares != 0 || v2.CpuQuota != 50000 || v2.CpuPeriod != 100000 || v2.Memory != 1<<20 || *v2.PidsLimit != -1 || !v2.SkipDevices {
		t.Errorf("v2 resources %+v", v2.Resources)
	}
	v1 := slicesOverDBus{}.slice(Name{"kubepods"}, r)
	if v1.CpuShares != 1024 || v1.CpuWeight != 0 || v1.Parent != "-.slice" {
		t.Errorf("v1 resources %+v in %q", v1.Resources, v1.Parent)
	}
}
