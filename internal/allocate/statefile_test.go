package allocate

import (
	"os"
	"reflect"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

// The files in testdata were written by the upstream kubelet 1.37.1 on a machine with two processors, of which 0 was reserved, and one NUMA node.
func written(t *testing.T, name string) string {
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func likeUpstream() *Rules {
	m := machine(1, 1, 1, 2, 1)
	m.Banks = []Bank{{Node: 0, Memory: 25274793984, HugePages: map[string]int64{"hugepages-2Mi": 0, "hugepages-1Gi": 0}}}
	return &Rules{
		Machine:  m,
		CPU:      CPURules{Static: true, Reserved: CPUsOf(0)},
		Memory:   MemoryRules{Static: true, Reserved: map[int]map[string]int64{0: {string(v1.ResourceMemory): 512 << 20}}},
		Topology: Topology{Nodes: 1},
	}
}

// TestStateFiles holds 232 and 235: what an upstream kubelet writes of a pod is what Bosun writes of it, sums included.
func TestStateFiles(t *testing.T) {
	r := likeUpstream()
	a, no := Place(guaranteed("+init=1/300Mi", "app=1/200Mi"), r, nil, nil)
	if no != nil {
		t.Fatal(no.Message)
	}
	owners := Owners{"abf42d895924023d9ff863be2a293445": a}
	for name, got := range map[string][]byte{
		"cpu_manager_state": CPUStateFile(r, owners), "memory_manager_state": MemoryStateFile(r, owners),
		"cpu_manager_state_none": CPUStateFile(&Rules{}, nil), "memory_manager_state_none": MemoryStateFile(&Rules{}, nil),
	} {
		if want := written(t, name); string(got) != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
}

// TestAdopt holds that what an upstream kubelet has written is read, and that a file that is damaged stops nobody.
func TestAdopt(t *testing.T) {
	cpus, memory := written(t, "cpu_manager_state"), written(t, "memory_manager_state")
	const uid = "abf42d895924023d9ff863be2a293445"
	one := func(cpus CPUs, size int64) Part {
		p := Part{CPUs: cpus}
		if size > 0 {
			p.Memory = []Block{{Resource: "memory", Nodes: 1, Size: size}}
		}
		return p
	}
	both := Owners{uid: {Containers: map[string]Part{"init": one(CPUsOf(1), 100<<20), "app": one(CPUsOf(1), 200<<20)}}}
	onlyCPUs := Owners{uid: {Containers: map[string]Part{"init": one(CPUsOf(1), 0), "app": one(CPUsOf(1), 0)}}}
	for name, c := range map[string]struct {
		cpus, memory string
		want         Owners
		wrong        string
	}{
		"nothing":               {"", "\n", Owners{}, ""},
		"both":                  {cpus, memory, both, ""},
		"half of one":           {cpus, memory[:200], onlyCPUs, "memory_manager_state cannot be read"},
		"an older kubelet's":    {`{"policyName":"static","defaultCpuSet":"0","entries":{"` + uid + `":{"app":"1","init":"1"}},"checksum":3389061757}`, "", onlyCPUs, ""},
		"changed by hand":       {strings.Replace(cpus, `\"defaultCpuSet\":\"0\"`, `\"defaultCpuSet\":\"\"`, 1), "", onlyCPUs, "its sum is wrong"},
		"nonsense in one entry": {`{"policyName":"static","entries":{"` + uid + `":{"app":"1","init":"1"},"x":{"y":"z"}}}`, "", onlyCPUs, "pod x, container y"},
		"something else":        {"[1]", "true", Owners{}, "cpu_manager_state cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			got, wrong := Adopt([]byte(c.cpus), []byte(c.memory))
			said := strings.Join(wrong, "\n")
			if !reflect.DeepEqual(got, c.want) || !strings.Contains(said, c.wrong) || (c.wrong == "") != (said == "") {
				t.Errorf("got %v (%s), want %v (%s)", got[uid], said, c.want[uid], c.wrong)
			}
		})
	}
}

func FuzzAdopt(f *testing.F) {
	f.Add([]byte(`{"entries":{"a":{"b":"1"}}}`), []byte(`{"entries":{"a":{"b":[{"numaAffinity":[0],"type":"memory","size":1}]}}}`))
	f.Add([]byte(`{"data":"{}","dataChecksum":1}`), []byte(`{"machineState":{"x":1}}`))
	f.Fuzz(func(t *testing.T, cpus, memory []byte) {
		owners, _ := Adopt(cpus, memory)
		r := likeUpstream()
		for _, text := range [][]byte{CPUStateFile(r, owners), MemoryStateFile(r, owners)} {
			if len(text) == 0 {
				t.Fatal("nothing is written")
			}
		}
		if pool := r.CPU.Pool(&r.Machine, owners.All()); pool.Empty() {
			t.Fatal("nothing is shared")
		}
	})
}
