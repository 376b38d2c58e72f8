package podresources

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	pb "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/worker"
)

// active are the pods that are told of: those of sources that have not ended.
func (s *Server) active() []*worker.Entry {
	return slices.DeleteFunc(s.cfg.Pods(), func(e *worker.Entry) bool {
		ended := e.Status.Phase == v1.PodFailed || e.Status.Phase == v1.PodSucceeded
		return e.Desired.Source == pod.FromRuntime || ended && !s.cfg.Ended
	})
}

// of is what a pod has: its regular containers and sidecars.
func (s *Server) of(e *worker.Entry, supplies allocate.Supplies) *pb.PodResources {
	p := e.Desired.Pod
	out := &pb.PodResources{Name: p.Name, Namespace: p.Namespace}
	add := func(c *v1.Container) {
		part := e.Memory.Kept.Assigned.Part(c.Name)
		one := &pb.ContainerResources{Name: c.Name, Devices: devices(part.Devices, supplies), CpuIds: numbers(part.CPUs), Memory: blocks(part.Memory)}
		if s.cfg.Dynamic != nil {
			one.DynamicResources = s.cfg.Dynamic(p, c)
		}
		out.Containers = append(out.Containers, one)
	}
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; pod.IsSidecar(c) {
			add(c)
		}
	}
	for i := range p.Spec.Containers {
		add(&p.Spec.Containers[i])
	}
	return out
}

// devices are told one by one, each with the NUMA nodes it is near to.
func devices(has map[string][]string, s allocate.Supplies) []*pb.ContainerDevices {
	var out []*pb.ContainerDevices
	for _, resource := range slices.Sorted(maps.Keys(has)) {
		for _, id := range has[resource] {
			out = append(out, device(resource, id, s.Known[resource].Devices[id]))
		}
	}
	return out
}

func device(resource, id string, d allocate.Device) *pb.ContainerDevices {
	return &pb.ContainerDevices{ResourceName: resource, DeviceIds: []string{id}, Topology: topology(d.Nodes)}
}

// healthy are all devices that may be given to pods.
func healthy(s allocate.Supplies) []*pb.ContainerDevices {
	var out []*pb.ContainerDevices
	for _, resource := range slices.Sorted(maps.Keys(s.Known)) {
		supply := s.Known[resource]
		if !supply.Serving {
			continue
		}
		for _, id := range slices.Sorted(maps.Keys(supply.Devices)) {
			if d := supply.Devices[id]; d.Healthy {
				out = append(out, device(resource, id, d))
			}
		}
	}
	return out
}

func topology(n allocate.Nodes) *pb.TopologyInfo {
	if n == 0 {
		return nil
	}
	out := &pb.TopologyInfo{}
	for _, id := range n.IDs() {
		out.Nodes = append(out.Nodes, &pb.NUMANode{ID: int64(id)})
	}
	return out
}

func numbers(cpus allocate.CPUs) []int64 {
	var out []int64
	for id := range cpus.All() {
		out = append(out, int64(id))
	}
	return out
}

func blocks(all []allocate.Block) []*pb.ContainerMemory {
	var out []*pb.ContainerMemory
	for _, b := range all {
		out = append(out, &pb.ContainerMemory{MemoryType: b.Resource, Size: uint64(max(b.Size, 0)), Topology: topology(b.Nodes)})
	}
	return out
}
