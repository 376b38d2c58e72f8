package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/machine"
	"github.com/bosun-project/bosun/internal/perform"
	"github.com/bosun-project/bosun/internal/pin"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
)

// checkPins is the time between two looks at what the kernel has, unless the configuration names one: changes are acted on as they happen, and
// nobody else should write there.
const checkPins = time.Minute

// buildPins makes what gives pods processors and memory for themselves. Where no policy does, and no pod has any from an earlier one, the machine is
// not even looked at.
func (a *Agent) buildPins(remembered map[types.UID]plan.Record) (adopted allocate.Owners, err error) {
	adopted, err = a.adopt()
	if err != nil {
		return nil, err
	}
	k := &a.cfg.Kubelet
	static := k.CPUManagerPolicy == "static" || k.MemoryManagerPolicy == "Static"
	left := !pinned(adopted, remembered).Empty()
	if !allocate.Wanted(a.cfg) && !left {
		return adopted, a.disown()
	}
	m, err := machine.Read()
	if err != nil {
		return nil, err
	}
	if a.rules, err = allocate.RulesOf(machineOf(m), a.cfg, a.room.Eviction.Memory().Value()); err != nil {
		return nil, err
	}
	if a.rules.Topology.TooLarge() {
		a.log.Warn("this machine has more NUMA nodes than topologyManagerPolicy may be used with, so it is not; max-allowable-numa-nodes of topologyManagerPolicyOptions allows more",
			"nodes", a.rules.Topology.Nodes.Len())
	}
	if !static && !left {
		return adopted, a.disown()
	}
	every := checkPins
	if a.cfg.IsSet("cpuManagerReconcilePeriod") {
		every = k.CPUManagerReconcilePeriod.Duration
	}
	a.pins = pin.New(pin.Config{
		Rules: a.rules, Pods: a.podsToPin, Every: every, Log: a.log,
		Up: func() (bool, <-chan struct{}) {
			h, newer := a.observer.Health().Get()
			return h.Up, newer
		},
		Update: func(ctx context.Context, id, cpus string) error {
			return a.client.UpdateContainerResources(ctx, id, &runtimeapi.LinuxContainerResources{CpusetCpus: cpus})
		},
		Read: func(uid types.UID, id string) (string, error) {
			e, tree := a.set.Table().Pod(uid), a.cgroups.known()
			if e == nil || tree == nil {
				return "", fs.ErrNotExist
			}
			return tree.CPUs(e.Desired.Pod, id)
		},
		Write: func(name string, content []byte) error { return replace(filepath.Join(a.cfg.RootDir, name), content) },
	})
	a.metrics.Pools(&a.rules.Machine, func() (allocate.CPUs, allocate.Owners) {
		s := a.pins.State()
		return s.Pool, s.Owners
	})
	return adopted, nil
}

// adopt reads what an earlier agent gave to pods. A file that is damaged stops nobody.
func (a *Agent) adopt() (allocate.Owners, error) {
	read := func(name string) ([]byte, error) {
		text, err := os.ReadFile(filepath.Join(a.cfg.RootDir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return text, err
	}
	cpus, noCPUs := read(allocate.CPUFile)
	memory, noMemory := read(allocate.MemoryFile)
	if err := errors.Join(noCPUs, noMemory); err != nil {
		return nil, fmt.Errorf("read what an earlier agent gave to pods: %w", err)
	}
	owners, wrong := allocate.Adopt(cpus, memory)
	for _, text := range wrong {
		a.log.Warn("what an earlier agent gave to pods is not wholly known", "why", text)
	}
	return owners, nil
}

// disown takes back what the files say of an earlier policy, where there are any: an upstream kubelet would not start with them.
func (a *Agent) disown() error {
	for name, content := range map[string][]byte{
		allocate.CPUFile: allocate.CPUStateFile(&allocate.Rules{}, nil), allocate.MemoryFile: allocate.MemoryStateFile(&allocate.Rules{}, nil),
	} {
		path := filepath.Join(a.cfg.RootDir, name)
		text, err := os.ReadFile(path)
		if err != nil || string(text) == string(content) {
			continue
		}
		if err := replace(path, content); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a file as a whole or not at all.
func replace(path string, content []byte) error {
	err := os.WriteFile(path+".new", content, 0o600)
	if err == nil {
		err = syncFile(path + ".new")
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// pinned are the processors that pods have from an earlier life of the agent, or from an earlier agent.
func pinned(adopted allocate.Owners, remembered map[types.UID]plan.Record) (all allocate.CPUs) {
	for _, o := range adopted {
		all = all.With(o.CPUs())
	}
	for _, r := range remembered {
		all = all.With(r.Kept.Assigned.CPUs())
	}
	return all
}

// judged counts what admission has said of pods that ask for something for themselves.
func (a *Agent) judged(d *pod.Desired, v plan.Verdict) {
	if a.rules != nil {
		cpus, memory := a.rules.Asks(d.Pod)
		a.metrics.Placed(a.rules, cpus, memory, v)
	}
}

// processors fits the loop to what perform asks; nil if there is none.
func (a *Agent) processors() perform.Processors {
	if a.pins == nil {
		return nil
	}
	return a.pins
}

// podsToPin are the pods that have something in the runtime, or for themselves. What they have for themselves holds, too, while no source has
// named them: the others must not come there meanwhile.
func (a *Agent) podsToPin() ([]pin.Pod, <-chan struct{}) {
	entries, newer := a.set.Table().Pods()
	owners := a.set.Owners()
	pods := make([]pin.Pod, 0, len(entries))
	for _, e := range entries {
		p := pin.Pod{UID: e.Desired.UID(), Assigned: owners[e.Desired.UID()], Containers: map[string]string{}}
		for i := range e.Observed.Containers {
			if c := &e.Observed.Containers[i]; c.State == pod.Created || c.State == pod.Running {
				p.Containers[c.ID] = c.Name
			}
		}
		if p.Assigned != nil || len(p.Containers) > 0 {
			pods = append(pods, p)
		}
		delete(owners, p.UID)
	}
	for uid, assigned := range owners {
		pods = append(pods, pin.Pod{UID: uid, Assigned: assigned})
	}
	return pods, newer
}

// machineOf is the machine as the rules have it.
func machineOf(m *machine.Info) allocate.Machine {
	var out allocate.Machine
	for _, n := range m.Topology {
		bank := allocate.Bank{Node: n.Id, Memory: int64(n.Memory), HugePages: map[string]int64{}}
		for _, h := range n.HugePages {
			size := int64(h.PageSize) << 10
			all := size * int64(h.NumPages)
			bank.HugePages[v1.ResourceHugePagesPrefix+resource.NewQuantity(size, resource.BinarySI).String()] += all
			bank.Memory -= all
		}
		for _, d := range n.Distances {
			bank.Distance = append(bank.Distance, int(d))
		}
		out.Banks = append(out.Banks, bank)
		for _, c := range n.Cores {
			if len(c.Threads) == 0 {
				continue
			}
			lowest, cache := c.Threads[0], -1
			for _, id := range c.Threads {
				lowest = min(lowest, id)
			}
			if len(c.UncoreCaches) > 0 {
				cache = c.UncoreCaches[0].Id
			}
			for _, id := range c.Threads {
				out.CPUs = append(out.CPUs, allocate.CPU{ID: id, Core: lowest, Socket: c.SocketID, Node: n.Id, Cache: cache})
			}
		}
	}
	return out
}
