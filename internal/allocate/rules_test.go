package allocate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bosun-project/bosun/internal/config"
)

func loaded(t *testing.T, lines string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubelet.yaml")
	text := "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nfeatureGates: {CPUManagerPolicyAlphaOptions: true}\n" + lines
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load([]string{"--config=" + file}, config.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRulesOf holds what a configuration means on a machine, and what does not fit it (behaviours 232 to 236).
func TestRulesOf(t *testing.T) {
	m := machine(2, 1, 1, 4, 2) // nodes 0-3,8-11 and 4-7,12-15; 8 GiB each
	const memory = "memoryManagerPolicy: Static\nkubeReserved: {cpu: 100m, memory: 924Mi}\n"
	for name, c := range map[string]struct{ lines, want, wrong string }{
		"nothing":                              {"", "none place=none", ""},
		"234 the lowest numbers, core by core": {"cpuManagerPolicy: static\nkubeReserved: {cpu: 1500m}\nsystemReserved: {cpu: 600m}\n", "static keep=0-1,8 place=none", ""},
		"234 those that are named":             {"cpuManagerPolicy: static\nreservedSystemCPUs: 4,12\n", "static keep=4,12 place=none", ""},
		"232 none for the system":              {"cpuManagerPolicy: static\n", "", "set kubeReserved or systemReserved cpu, or reservedSystemCPUs"},
		"234 one that is not there":            {"cpuManagerPolicy: static\nreservedSystemCPUs: 0,16\n", "", "this machine has no processors 16; it has 0-15"},
		"233 options": {"cpuManagerPolicy: static\nreservedSystemCPUs: '0'\ncpuManagerPolicyOptions: {full-pcpus-only: 'true', distribute-cpus-across-numa: 'true', strict-cpu-reservation: 'false'}\n",
			"static keep=0 {FullCores:true AcrossNodes:true BySocket:false AcrossCores:false StrictReserve:false AlignCaches:false} place=none", ""},
		"233 options that contradict each other": {"cpuManagerPolicy: static\nreservedSystemCPUs: '0'\ncpuManagerPolicyOptions: {full-pcpus-only: 'true', distribute-cpus-across-cores: 'true'}\n",
			"", "distribute-cpus-across-cores cannot be used with full-pcpus-only"},
		"233 near by socket, and one node": {"cpuManagerPolicy: static\nreservedSystemCPUs: '0'\ncpuManagerPolicyOptions: {align-by-socket: 'true'}\ntopologyManagerPolicy: single-numa-node\n",
			"", "align-by-socket cannot be used with topologyManagerPolicy single-numa-node"},
		"235 memory":               {memory + "reservedMemory: [{numaNode: 1, limits: {memory: 1Gi}}]\n", "none memory=map[1:map[memory:1073741824]] place=none", ""},
		"235 a node that is none":  {memory + "reservedMemory: [{numaNode: 7, limits: {memory: 1Gi}}]\n", "", "no NUMA node 7; it has 0,1"},
		"235 more than there is":   {"memoryManagerPolicy: Static\nkubeReserved: {memory: 9116Mi}\nreservedMemory: [{numaNode: 1, limits: {memory: 9Gi}}]\n", "", "less than the 9663676416 that are to be kept"},
		"235 a share of the whole": {"memoryManagerPolicy: Static\nkubeReserved: {memory: 1Gi}\nevictionHard: {memory.available: 5%}\nreservedMemory: [{numaNode: 1, limits: {memory: 1Gi}}]\n", "", "must add up to 1178599424"},
		"236 places": {"topologyManagerPolicy: restricted\ntopologyManagerScope: pod\ntopologyManagerPolicyOptions: {prefer-closest-numa-nodes: 'true', max-allowable-numa-nodes: '9'}\n",
			"none place=restricted pod closest most=9 nodes=0,1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := RulesOf(m, loaded(t, c.lines), 100<<20)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("it is taken: %v; want %s", err, c.wrong)
				}
				return
			}
			if got := toldRules(r); err != nil || got != c.want {
				t.Errorf("got  %s (%v)\nwant %s", got, err, c.want)
			}
		})
	}
}

func toldRules(r *Rules) string {
	words := []string{"none"}
	if r.CPU.Static {
		words = []string{"static keep=" + r.CPU.Reserved.String()}
	}
	if r.CPU.CPUOptions != (CPUOptions{}) {
		words = append(words, fmt.Sprintf("%+v", r.CPU.CPUOptions))
	}
	if r.Memory.Static {
		words = append(words, fmt.Sprintf("memory=%v", r.Memory.Reserved))
	}
	words = append(words, "place="+r.Topology.Policy)
	if t := r.Topology; t.Asks() {
		if t.WholePod {
			words = append(words, "pod")
		}
		if t.Closest {
			words = append(words, "closest")
		}
		words = append(words, fmt.Sprintf("most=%d nodes=%s", t.Most, t.Nodes))
	}
	return strings.Join(words, " ")
}

func TestAllocatable(t *testing.T) {
	m := machine(1, 2, 1, 2, 1)
	r := &Rules{Machine: m, CPU: CPURules{Static: true, Reserved: CPUsOf(1)}, Memory: MemoryRules{Static: true, Reserved: map[int]map[string]int64{1: {"memory": 8 << 30}}}}
	cpus, memory := r.Allocatable()
	if got := fmt.Sprint(cpus, memory); got != "0,2-3 [{hugepages-2Mi 0 1073741824 0 false} {memory 0 8589934592 0 false} {hugepages-2Mi 1 1073741824 0 false}]" {
		t.Errorf("allocatable is %s", got)
	}
	var none *Rules
	for _, r := range []*Rules{none, {Machine: m}} {
		if cpus, memory := r.Allocatable(); cpus != nil || memory != nil {
			t.Errorf("without a policy %s and %v are allocatable", cpus, memory)
		}
		if !r.Idle() {
			t.Error("rules that give nobody anything are not idle")
		}
	}
}
