package nodestatus

import (
	"cmp"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// mostNames is how many names of an image are reported.
const mostNames = 5

// Status is the node's status now, made from the one before, which the API server has: behaviours 292 to 298 and 304.
// The heartbeat times of the node's own conditions are now; see NeedOf for whether there is anything to report.
func Status(previous v1.NodeStatus, f Facts, now time.Time) v1.NodeStatus {
	s := *previous.DeepCopy()
	s.Capacity, s.Allocatable = resources(previous, f)
	s.Conditions = conditions(previous, f, now)
	s.Addresses = addresses(previous.Addresses, f)
	s.DaemonEndpoints.KubeletEndpoint.Port = f.Port
	s.NodeInfo = info(previous.NodeInfo, f)
	s.Images = images(f.Images, f.MostImages)
	s.VolumesInUse = slices.Sorted(slices.Values(f.VolumesInUse))
	s.DeclaredFeatures = slices.Sorted(slices.Values(f.DeclaredFeatures))
	if f.Runtime.Name != "" { // until it has told, what it told before is the best guess
		s.RuntimeHandlers = handlers(f.Runtime.Handlers)
		s.Features = &v1.NodeFeatures{SupplementalGroupsPolicy: ptr.To(f.Runtime.SupplementalGroupsPolicy)}
	}
	return s
}

// Rebooted tells whether the machine was started anew since the previous status.
func Rebooted(previous v1.NodeStatus, f Facts) bool {
	before := previous.NodeInfo.BootID
	return before != "" && f.BootID != "" && before != f.BootID
}

func info(previous v1.NodeSystemInfo, f Facts) v1.NodeSystemInfo {
	i := v1.NodeSystemInfo{
		MachineID: f.MachineID, SystemUUID: f.SystemUUID, BootID: f.BootID, KernelVersion: f.Kernel, OSImage: f.OSImage,
		ContainerRuntimeVersion: runtimeVersion(f.Runtime), KubeletVersion: f.KubeletVersion,
		OperatingSystem: f.OS, Architecture: f.Arch, RunningInUserNamespace: f.InUserNamespace,
	}
	if f.Runtime.Name == "" {
		i.ContainerRuntimeVersion = previous.ContainerRuntimeVersion
	}
	if f.Swap > 0 {
		i.Swap = &v1.NodeSwapStatus{Capacity: ptr.To(f.Swap)}
	}
	return i
}

// addresses are the node's IPs and its name. With an external cloud, what is there stays: only while there is nothing
// are addresses written, and only if --node-ip says that the administrator knows what the cloud will say.
func addresses(previous []v1.NodeAddress, f Facts) []v1.NodeAddress {
	if f.ExternalCloud && (len(previous) > 0 || !f.AddressesAsked) {
		return previous
	}
	var all []v1.NodeAddress
	for _, ip := range f.Addresses {
		all = append(all, v1.NodeAddress{Type: v1.NodeInternalIP, Address: ip})
	}
	return append(all, v1.NodeAddress{Type: v1.NodeHostName, Address: f.Name})
}

func handlers(all []Handler) []v1.NodeRuntimeHandler {
	var out []v1.NodeRuntimeHandler
	for _, h := range all {
		out = append(out, v1.NodeRuntimeHandler{Name: h.Name, Features: &v1.NodeRuntimeHandlerFeatures{
			RecursiveReadOnlyMounts: ptr.To(h.RecursiveReadOnlyMounts), UserNamespaces: ptr.To(h.UserNamespaces),
		}})
	}
	slices.SortFunc(out, func(a, b v1.NodeRuntimeHandler) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// images are the largest ones, with some of their names (behaviour 168).
func images(all []Image, most int) []v1.ContainerImage {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b Image) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), slices.Compare(a.Names, b.Names))
	})
	if most >= 0 && len(sorted) > most {
		sorted = sorted[:most]
	}
	var out []v1.ContainerImage
	for _, i := range sorted {
		out = append(out, v1.ContainerImage{Names: slices.Clone(i.Names[:min(len(i.Names), mostNames)]), SizeBytes: i.Size})
	}
	return out
}
