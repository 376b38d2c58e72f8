package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// writer is a pod that writes a known amount to each place that is counted, and then uses a processor.
const writer = `
spec:
  containers:
  - {name: main, image: SHELL, resources: {limits: {cpu: 200m, memory: 64Mi}},
     volumeMounts: [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}], command: [sh, -c, 'dd if=/dev/zero of=/own bs=1M count=2 &&
       dd if=/dev/zero of=/disk/f bs=1M count=3 && dd if=/dev/zero of=/memory/f bs=1M count=1 && echo written;
       while true; do i=0; while [ $i -lt 1000 ]; do i=$((i+1)); done; sleep 0.1; done']}
  volumes:
  - {name: disk, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 8Mi}}
  - {name: host, hostPath: {path: /tmp}}
`

// What the summary, /metrics/resource and /metrics/cadvisor tell of a pod agrees with what the kernel and the runtime say, through
// the API server as clients ask (behaviours 196, 363).
func TestStats(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	g := m.create(t, ns, "writer", writer)
	g.untilSays("main", "written")
	before := g.cpu(t)
	p, node := g.summary(t)
	if used, after := *p.Containers[0].CPU.UsageCoreNanoSeconds, g.cpu(t); used < before || used > after {
		t.Errorf("the container used %d ns, want %d to %d", used, before, after)
	}
	c := &p.Containers[0]
	if set := *c.Memory.WorkingSetBytes; set == 0 || *c.Memory.AvailableBytes != 64<<20-set || *p.Memory.WorkingSetBytes < set {
		t.Errorf("memory: container %+v, pod %+v", c.Memory, p.Memory)
	}
	if c.StartTime.IsZero() || p.StartTime.IsZero() || p.PodRef.UID != g.uid || p.ProcessStats == nil || *p.ProcessStats.ProcessCount < 2 {
		t.Errorf("pod %+v", p)
	}
	if p.Network == nil || p.Network.Name != "eth0" || *p.Network.RxBytes == 0 {
		t.Errorf("network %+v", p.Network)
	}
	if node.CPU == nil || node.Memory == nil || *node.Memory.AvailableBytes == 0 || node.Network == nil || node.Fs == nil {
		t.Errorf("node %+v", node)
	}
	g.checkDisks(t)
	basic := g.ask(t, "/stats/summary?only_cpu_and_memory=true")
	if strings.Contains(basic, `"fs":`) || strings.Contains(basic, `"rootfs":`) || !strings.Contains(basic, `"uid":"`+g.uid+`"`) {
		t.Errorf("a short summary tells %s", basic)
	}
	g.checkFamilies(t)
}

// ask asks the node through the API server.
func (g *guest) ask(t *testing.T, path string) string {
	t.Helper()
	return g.kubectl(t, g.ns, "get", "--raw", "/api/v1/nodes/"+g.member.name+"/proxy"+path)
}

func (g *guest) summary(t *testing.T) (*stats.PodStats, *stats.NodeStats) {
	t.Helper()
	var s stats.Summary
	if err := json.Unmarshal([]byte(g.ask(t, "/stats/summary")), &s); err != nil {
		t.Fatal(err)
	}
	same(t, "the node's name", s.Node.NodeName, g.member.name)
	for i := range s.Pods {
		if s.Pods[i].PodRef.Name == g.name && s.Pods[i].PodRef.Namespace == g.ns && len(s.Pods[i].Containers) > 0 {
			return &s.Pods[i], &s.Node
		}
	}
	t.Fatalf("the summary tells nothing of pod %s", g.name)
	return nil, nil
}

// cpu is what the container used by now, in nanoseconds, as the kernel has it.
func (g *guest) cpu(t *testing.T) uint64 {
	t.Helper()
	id := strings.TrimPrefix(g.untilReady().Status.ContainerStatuses[0].ContainerID, "containerd://")
	for _, c := range []struct {
		mount, file, word string
		unit              uint64
	}{{"/sys/fs/cgroup/*cpuacct*", "cpuacct.usage", "", 1}, {"/sys/fs/cgroup", "cpu.stat", "usage_usec", 1000}} {
		found, err := filepath.Glob(filepath.Join(c.mount, g.cgroups, "kubepods/pod"+g.uid, id, c.file))
		if err != nil || len(found) == 0 {
			continue
		}
		text, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Fields(string(text))
		for i := range words {
			if n, err := strconv.ParseUint(words[i], 10, 64); err == nil && (c.word == "" || words[i-1] == c.word) {
				return n * c.unit
			}
		}
	}
	t.Fatalf("container %s of pod %s has no cgroup", id, g.name)
	return 0
}

// checkDisks: what the pod wrote is found where it was written to. The runtime looks at its disks every ten seconds, and is asked
// every thirty.
func (g *guest) checkDisks(t *testing.T) {
	t.Helper()
	within(t, 2*patience, func() error {
		p, node := g.summary(t)
		c := &p.Containers[0]
		if r := node.Runtime; r == nil || r.ImageFs == nil || *r.ImageFs.UsedBytes == 0 || r.ContainerFs == nil || *r.ContainerFs.UsedBytes < 2<<20 {
			return fmt.Errorf("what images and containers take is not told of: %+v", r)
		}
		if c.Rootfs == nil || *c.Rootfs.UsedBytes < 2<<20 {
			return errors.New("what the container wrote into its own file system is not told of")
		}
		if c.Logs == nil || *c.Logs.UsedBytes == 0 {
			return errors.New("the log is not told of")
		}
		used := map[string]uint64{}
		for i := range p.VolumeStats {
			if v := &p.VolumeStats[i]; v.UsedBytes != nil {
				used[v.Name] = *v.UsedBytes
			}
		}
		if used["disk"] < 3<<20 || used["memory"] != 1<<20 || len(p.VolumeStats) != 3 { // the third is the account's token
			return fmt.Errorf("volumes take %v", used)
		}
		sum, least := *p.EphemeralStorage.UsedBytes, *c.Rootfs.UsedBytes+*c.Logs.UsedBytes+used["disk"]
		if sum != least {
			return fmt.Errorf("the pod takes %d bytes of the disk, want %d", sum, least)
		}
		return nil
	})
}

// checkFamilies reads the metrics as Prometheus does, and looks for what metrics-server and dashboards need.
func (g *guest) checkFamilies(t *testing.T) {
	t.Helper()
	me := map[string]string{"namespace": g.ns, "pod": g.name, "container": "main"}
	resource := g.families(t, "/metrics/resource")
	for name, labels := range map[string]map[string]string{
		"node_cpu_usage_seconds_total": nil, "node_memory_working_set_bytes": nil, "container_cpu_usage_seconds_total": me,
		"container_memory_working_set_bytes": me, "container_start_time_seconds": me,
		"pod_cpu_usage_seconds_total": {"namespace": g.ns, "pod": g.name}, "pod_memory_working_set_bytes": {"namespace": g.ns, "pod": g.name},
	} {
		s := resource.one(t, name, labels)
		if s.value <= 0 || !s.timed {
			t.Errorf("metrics-server drops what has no number or no time: %s is %+v", name, s)
		}
	}
	cadvisor := g.families(t, "/metrics/cadvisor")
	same(t, "the limit of memory", cadvisor.one(t, "container_spec_memory_limit_bytes", me).value, 64<<20)
	same(t, "the quota", cadvisor.one(t, "container_spec_cpu_quota", me).value, 20000)
	same(t, "errors of reading", cadvisor.one(t, "container_scrape_error", nil).value, 0)
	sandbox := map[string]string{"namespace": g.ns, "pod": g.name, "container": "", "interface": "eth0"}
	for _, name := range []string{"receive", "transmit"} {
		if s := cadvisor.one(t, "container_network_"+name+"_bytes_total", sandbox); name == "receive" && s.value == 0 || s.labels["name"] == "" {
			t.Errorf("network: %s %+v", name, s)
		}
	}
	s := cadvisor.one(t, "container_cpu_usage_seconds_total", me)
	if s.labels["cpu"] != "total" || s.labels["image"] == "" || !strings.HasSuffix(s.labels["id"], "/pod"+g.uid+"/"+s.labels["name"]) {
		t.Errorf("labels %v", s.labels)
	}
	for _, name := range []string{"container_memory_rss", "container_memory_cache", "container_processes", "container_threads", "container_cpu_cfs_periods_total"} {
		if v := cadvisor.one(t, name, me).value; v <= 0 {
			t.Errorf("%s is %v", name, v)
		}
	}
	if v := cadvisor.one(t, "machine_memory_bytes", nil).value; v < 1<<20 {
		t.Errorf("the machine has %v bytes of memory", v)
	}
}

// series are those of one answer, by family.
type series map[string][]sample

type sample struct {
	labels map[string]string
	value  float64
	timed  bool
}

func (g *guest) families(t *testing.T, path string) series {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(g.ask(t, path)))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	all := series{}
	for name, f := range families {
		for _, m := range f.Metric {
			s := sample{labels: map[string]string{}, value: m.GetGauge().GetValue() + m.GetCounter().GetValue(), timed: m.TimestampMs != nil}
			for _, l := range m.Label {
				s.labels[l.GetName()] = l.GetValue()
			}
			all[name] = append(all[name], s)
		}
	}
	return all
}

// one finds the only series with these labels, among others.
func (all series) one(t *testing.T, name string, labels map[string]string) sample {
	t.Helper()
	var found []sample
next:
	for _, s := range all[name] {
		for k, v := range labels {
			if s.labels[k] != v {
				continue next
			}
		}
		found = append(found, s)
	}
	if len(found) != 1 {
		t.Fatalf("%d series of %s with %v", len(found), name, labels)
	}
	return found[0]
}
