package allocate

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// The names of the two files, below the state directory, in which a kubelet tells who has which processors and memory. Bosun remembers that in
// its ledger; it writes the files for others who read them, and reads them when it takes a node over.
const (
	CPUFile    = "cpu_manager_state"
	MemoryFile = "memory_manager_state"
)

// Owners are what pods have for themselves, by pod.
type Owners map[types.UID]*Assigned

// All lists what the pods have.
func (o Owners) All() []*Assigned { return slices.Collect(maps.Values(o)) }

// cpuState is what the file of processors says; memoryState that of memory.
type cpuState struct {
	PolicyName    string                       `json:"policyName"`
	DefaultCPUSet string                       `json:"defaultCpuSet"`
	Entries       map[string]map[string]string `json:"entries,omitempty"`
}

type memoryState struct {
	PolicyName   string                            `json:"policyName"`
	MachineState map[int]*bankState                `json:"machineState"`
	Entries      map[string]map[string][]fileBlock `json:"entries,omitempty"`
}

type bankState struct {
	NumberOfAssignments int                    `json:"numberOfAssignments"`
	MemoryMap           map[string]fileAmounts `json:"memoryMap"`
	Cells               []int                  `json:"cells"`
}

type fileAmounts struct {
	Total          int64 `json:"total"`
	SystemReserved int64 `json:"systemReserved"`
	Allocatable    int64 `json:"allocatable"`
	Reserved       int64 `json:"reserved"`
	Free           int64 `json:"free"`
}

type fileBlock struct {
	NUMAAffinity []int  `json:"numaAffinity"`
	Type         string `json:"type"`
	Size         int64  `json:"size"`
}

// seal follows the content in both files: a sum over it as older kubelets count it, the content as text, and a sum over that.
type seal struct {
	Checksum     uint32 `json:"checksum"`
	Data         string `json:"data"`
	DataChecksum uint32 `json:"dataChecksum"`
}

// CPUStateFile is what the file of processors has to say under these rules. Pods that have some from an earlier policy are told of under any.
func CPUStateFile(r *Rules, owners Owners) []byte {
	s := cpuState{PolicyName: "none"}
	if r.CPU.Static {
		s.PolicyName, s.DefaultCPUSet = "static", r.CPU.Pool(&r.Machine, owners.All()).String()
	}
	for uid, a := range owners {
		for name, part := range a.Containers {
			if part.CPUs.Empty() {
				continue
			}
			if s.Entries == nil {
				s.Entries = map[string]map[string]string{}
			}
			if s.Entries[string(uid)] == nil {
				s.Entries[string(uid)] = map[string]string{}
			}
			s.Entries[string(uid)][name] = part.CPUs.String()
		}
	}
	data, _ := json.Marshal(s) // strings always have a JSON
	text, _ := json.Marshal(struct {
		cpuState
		seal
	}{s, seal{sum(s.dump()), string(data), sum("(string)" + string(data))}})
	return text
}

// MemoryStateFile is what the file of memory has to say under these rules. What an init container had that a later one has again is told of
// the latter.
func MemoryStateFile(r *Rules, owners Owners) []byte {
	s := memoryState{PolicyName: "None", MachineState: map[int]*bankState{}}
	if r.Memory.Static {
		s.PolicyName = "Static"
		for _, b := range r.Memory.MemoryState(&r.Machine, owners.All()) {
			told := &bankState{NumberOfAssignments: b.Blocks, MemoryMap: map[string]fileAmounts{}, Cells: b.Group.IDs()}
			for name, a := range b.Amounts {
				told.MemoryMap[name] = fileAmounts{a.Total, a.Reserved, a.Allocatable(), a.Taken, a.Free()}
			}
			s.MachineState[b.Node] = told
		}
		for uid, a := range owners {
			if entry := fileBlocks(a); entry != nil {
				if s.Entries == nil {
					s.Entries = map[string]map[string][]fileBlock{}
				}
				s.Entries[string(uid)] = entry
			}
		}
	}
	data, _ := json.Marshal(s)
	text, _ := json.Marshal(struct {
		memoryState
		seal
	}{s, seal{sum(s.dump()), string(data), sum("(string)" + string(data))}})
	return text
}

// fileBlocks are the blocks of a pod; together they are as large as what it has.
func fileBlocks(a *Assigned) map[string][]fileBlock {
	type place struct {
		nodes    Nodes
		resource string
	}
	again := map[place]int64{} // what later containers have again
	for _, part := range a.Containers {
		for _, b := range part.Memory {
			again[place{b.Nodes, b.Resource}] += b.Reused
		}
	}
	var out map[string][]fileBlock
	for _, name := range a.names() {
		for _, b := range a.Containers[name].Memory {
			at, size := place{b.Nodes, b.Resource}, b.Size
			if b.Over {
				less := min(again[at], size)
				size -= less
				again[at] -= less
			}
			if out == nil {
				out = map[string][]fileBlock{}
			}
			out[name] = append(out[name], fileBlock{b.Nodes.IDs(), b.Resource, size})
		}
	}
	return out
}

// Adopt reads what an earlier agent gave to pods. Either text may be empty. What cannot be understood is left out, and said.
func Adopt(cpus, memory []byte) (Owners, []string) {
	owners := Owners{}
	var wrong []string
	part := func(uid, container string, change func(*Part)) {
		a := owners[types.UID(uid)]
		if a == nil {
			a = &Assigned{Containers: map[string]Part{}}
			owners[types.UID(uid)] = a
		}
		p := a.Containers[container]
		change(&p)
		a.Containers[container] = p
	}
	var c cpuState
	wrong = append(wrong, readState(CPUFile, cpus, &c)...)
	for uid, containers := range c.Entries {
		for name, list := range containers {
			set, err := ParseCPUs(list)
			if err != nil {
				wrong = append(wrong, fmt.Sprintf("%s: pod %s, container %s: %v", CPUFile, uid, name, err))
			} else if !set.Empty() {
				part(uid, name, func(p *Part) { p.CPUs = set })
			}
		}
	}
	var m memoryState
	wrong = append(wrong, readState(MemoryFile, memory, &m)...)
	for uid, containers := range m.Entries {
		for name, blocks := range containers {
			for _, b := range blocks {
				if nodes := NodesOf(b.NUMAAffinity...); nodes != 0 && b.Size >= 0 {
					part(uid, name, func(p *Part) { p.Memory = append(p.Memory, Block{Resource: b.Type, Nodes: nodes, Size: b.Size}) })
				}
			}
		}
	}
	slices.Sort(wrong)
	return owners, wrong
}

// readState reads a file. What it says twice is read where the sum is right.
func readState(file string, text []byte, into any) []string {
	if len(strings.TrimSpace(string(text))) == 0 {
		return nil
	}
	var s seal
	if err := json.Unmarshal(text, &s); err != nil {
		return []string{fmt.Sprintf("%s cannot be read: %v", file, err)}
	}
	if s.Data != "" && sum("(string)"+s.Data) == s.DataChecksum && json.Unmarshal([]byte(s.Data), into) == nil {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return []string{fmt.Sprintf("%s cannot be read: %v", file, err)}
	}
	if s.Data != "" {
		return []string{file + " was changed by somebody: its sum is wrong"}
	}
	return nil
}

func sum(text string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(text))
	return h.Sum32()
}

// dump writes the content as the sum of older kubelets is taken over: field by field, with types, keys sorted.
func (s cpuState) dump() string {
	var b strings.Builder
	fmt.Fprintf(&b, "(*state.CPUManagerCheckpoint){PolicyName:(string)%s DefaultCPUSet:(string)%s Entries:(map[string]map[string]string)", s.PolicyName, s.DefaultCPUSet)
	dumpMap(&b, s.Entries, func(entry map[string]string) {
		dumpMap(&b, entry, func(set string) { b.WriteString(set) })
	})
	b.WriteString(" Checksum:(checksum.Checksum)0}")
	return b.String()
}

func (s memoryState) dump() string {
	var b strings.Builder
	fmt.Fprintf(&b, "(*state.MemoryManagerCheckpoint){PolicyName:(string)%s MachineState:(state.NUMANodeMap)map[", s.PolicyName)
	for i, node := range slices.Sorted(maps.Keys(s.MachineState)) {
		if i > 0 {
			b.WriteByte(' ')
		}
		n := s.MachineState[node]
		fmt.Fprintf(&b, "%d:<*>{NumberOfAssignments:(int)%d MemoryMap:(map[v1.ResourceName]*state.MemoryTable)", node, n.NumberOfAssignments)
		dumpMap(&b, n.MemoryMap, func(a fileAmounts) {
			fmt.Fprintf(&b, "<*>{TotalMemSize:(uint64)%d SystemReserved:(uint64)%d Allocatable:(uint64)%d Reserved:(uint64)%d Free:(uint64)%d}",
				a.Total, a.SystemReserved, a.Allocatable, a.Reserved, a.Free)
		})
		b.WriteString(" Cells:([]int)" + dumpInts(n.Cells) + "}")
	}
	b.WriteString("] Entries:(state.ContainerMemoryAssignments)")
	dumpMap(&b, s.Entries, func(entry map[string][]fileBlock) {
		dumpMap(&b, entry, func(blocks []fileBlock) {
			b.WriteByte('[')
			for i, block := range blocks {
				if i > 0 {
					b.WriteByte(' ')
				}
				fmt.Fprintf(&b, "{NUMAAffinity:([]int)%s Type:(v1.ResourceName)%s Size:(uint64)%d}", dumpInts(block.NUMAAffinity), block.Type, block.Size)
			}
			b.WriteByte(']')
		})
	})
	b.WriteString(" Checksum:(checksum.Checksum)0}")
	return b.String()
}

func dumpMap[V any](b *strings.Builder, m map[string]V, value func(V)) {
	b.WriteString("map[")
	for i, key := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(key + ":")
		value(m[key])
	}
	b.WriteByte(']')
}

func dumpInts(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.Itoa(n)
	}
	return "[" + strings.Join(words, " ") + "]"
}
