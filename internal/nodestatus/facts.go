package nodestatus

import (
	v1 "k8s.io/api/core/v1"
)

// Facts is all that is known of the node now. The zero Facts are those of a node of which nothing is known.
type Facts struct {
	// Name is the node's name, and what kubernetes.io/hostname and the Hostname address say.
	Name string
	// OS and Arch are as Go spells them, such as linux and amd64.
	OS, Arch string

	// Labels and Taints are those the configuration asks for (--node-labels, registerWithTaints). They count when the
	// Node object is made; see Adopt for what of them counts later.
	Labels map[string]string
	Taints []v1.Taint
	// ProviderID is the cloud's name for the machine; empty for none.
	ProviderID string
	// ExternalCloud tells of --cloud-provider=external: a cloud controller finishes the node and sets its addresses.
	ExternalCloud bool
	// AttachDetach is enableControllerAttachDetach.
	AttachDetach bool

	// Addresses are the node's IPs, the preferred one first.
	Addresses []string
	// GivenIPs are the IPs named by --node-ip; 0.0.0.0 and :: are none.
	GivenIPs []string
	// AddressesAsked tells that --node-ip was given in any form. Without it an external cloud is waited for.
	AddressesAsked bool

	// Room is what the node has to give.
	Room Room
	// Devices are the resources of device plugins, by name.
	Devices map[string]Devices
	// NoLocalStorage is localStorageCapacityIsolation: false; without it a node that does not know the size of its disk
	// is not ready.
	NoLocalStorage bool
	// Swap is in bytes; 0 for none.
	Swap int64

	MachineID, SystemUUID, BootID string
	// Kernel is the kernel's release, OSImage the name of the distribution.
	Kernel, OSImage string
	// KubeletVersion is such as v1.37.1.
	KubeletVersion string
	// InUserNamespace tells whether the agent runs in a user namespace; nil says nothing of it.
	InUserNamespace *bool
	// CgroupVersion is 1 or 2; 0 while not known.
	CgroupVersion int
	// Port is that of the agent's HTTPS server.
	Port int32

	Runtime Runtime
	// Images are those on the node, MostImages how many of them are reported; negative means all.
	Images     []Image
	MostImages int
	// VolumesInUse are the attachable volumes that are mounted or about to be.
	VolumesInUse []v1.UniqueVolumeName
	// DeclaredFeatures are what the node can do beyond what every node of its version can.
	DeclaredFeatures []string

	// MemoryPressure, DiskPressure and PIDPressure tell that pods are, or are about to be, evicted.
	MemoryPressure, DiskPressure, PIDPressure bool
	// StaleListing says since when what the runtime has could not be listed, if that is too long ago; StorageError says
	// why volumes cannot be used yet, CgroupsError why no pod can have its cgroup. Empty means well. None may change with time
	// alone: each change is reported.
	StaleListing, StorageError, CgroupsError string
	// ShuttingDown tells that the machine is about to go down.
	ShuttingDown bool
}

// Devices is one resource of device plugins (behaviour 237).
type Devices struct {
	// Capacity is how many devices there are, Healthy how many of them may be given to pods.
	Capacity, Healthy int
	// Away tells that nobody serves the resource, and Untold that nobody has since the agent began: then there are as many devices as
	// were told before, and none may be given to pods. Gone tells that nobody has for so long that the resource is none any more.
	Away, Untold, Gone bool
}

// Runtime is how the container runtime fares.
type Runtime struct {
	// Asked tells that the runtime answered, or failed to, since the agent started.
	Asked bool
	// Name and Version are empty until it answered.
	Name, Version string
	// Up tells that it can run containers; Message says why not, in full.
	Up      bool
	Message string
	// NetworkReady tells that it can connect them; NetworkMessage says why not, in full.
	NetworkReady   bool
	NetworkMessage string
	Handlers       []Handler
	// SupplementalGroupsPolicy tells that the runtime honours that field of pods.
	SupplementalGroupsPolicy bool
}

// Handler is one way to run containers. The name of the default one is empty.
type Handler struct {
	Name                                    string
	RecursiveReadOnlyMounts, UserNamespaces bool
}

// Image is an image on the node.
type Image struct {
	// Names are its names with digests, then those with tags.
	Names []string
	// Size is in bytes.
	Size int64
}
