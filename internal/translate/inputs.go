package translate

import (
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/environ"
)

// Node is what the translation must know of the node; it is the same for all pods.
type Node struct {
	Name string
	// HostIPs are the node's addresses, the primary one first.
	HostIPs []string
	// RootDir is the state directory; seccomp profiles are below RootDir/seccomp.
	RootDir string
	// PodLogsDir is the directory of all pods' logs.
	PodLogsDir string

	// Standalone tells that there is no cluster, whose DNS nobody misses then.
	Standalone    bool
	ClusterDNS    []string
	ClusterDomain string
	// HostResolv is the node's resolver file, read anew for each sandbox.
	HostResolv ResolvConf
	// NoHostResolv says that the node's resolver file is not to be used (config resolvConf: "").
	NoHostResolv bool

	SeccompDefault bool
	// SELinux tells whether SELinux is enabled on the node.
	SELinux bool
	// MaskedPaths are paths hidden from containers beyond the usual ones: what exists of
	// /sys/devices/system/cpu/cpu*/thermal_throttle.
	MaskedPaths []string
	// Sysctls are the node-wide defaults for sandboxes (config defaultPodSysctls).
	Sysctls map[string]string

	// MemoryCapacity and MemoryAllocatable are in bytes.
	MemoryCapacity, MemoryAllocatable int64
	CPUCFSQuota                       bool
	// CPUCFSQuotaPeriod is 100ms if zero.
	CPUCFSQuotaPeriod time.Duration
	// CgroupVersion is 1 or 2.
	CgroupVersion        int
	SingleProcessOOMKill bool
	// HugePageSizes are the sizes the node has and can limit, in bytes.
	HugePageSizes []int64
	// MemoryThrottlingFactor sets memory.high when it is not nil.
	MemoryThrottlingFactor *float64
	// TieredReservation reserves the requested memory in the kernel (config memoryReservationPolicy).
	TieredReservation bool
	Swap              Swap

	// Handlers are the features of the runtime's handlers by name; "" is the default one.
	Handlers map[string]Handler
	// MountOptions tells whether the runtime takes bind mount options.
	MountOptions bool
}

// Swap is how containers may use swap space.
type Swap struct {
	// Controller tells whether the kernel can limit the swap of a cgroup.
	Controller bool
	// Limited gives burstable containers a share (swapBehavior LimitedSwap); otherwise no container may swap.
	Limited bool
	// Capacity is the node's swap space in bytes.
	Capacity int64
}

// Handler is what a runtime handler can do.
type Handler struct{ UserNamespaces, RecursiveReadOnly bool }

// PodInputs is what was worked out for one pod before its sandbox is made.
type PodInputs struct {
	// CgroupParent is the pod's cgroup in the words of the cgroup driver.
	CgroupParent string
	// Handler is the runtime handler of the pod's runtime class; "" is the default one.
	Handler string
	// UserNamespace is the range of host ids of the pod; required when the pod has hostUsers: false.
	UserNamespace *IDRange
	// Groups are supplemental groups that volumes demand (annotation pv.beta.kubernetes.io/gid).
	Groups []int64
}

// IDRange is a range of ids on the host that container ids from 0 on are mapped to.
type IDRange struct{ First, Length uint32 }

// Inputs is what was worked out for one attempt of a container before it is created.
type Inputs struct {
	PodInputs
	// Env are the variables, from environ.Vars.
	Env []environ.Var
	// Volumes are the pod's volumes that are set up, by name.
	Volumes map[string]Volume
	// SubPaths are the host paths of the mounts that show a part of a volume only, by index in the container's
	// volumeMounts.
	SubPaths map[int]string
	// BlockDevices are the block devices of the container's volumeDevices, by volume name.
	BlockDevices map[string]BlockDevice
	// HostsPath is the managed hosts file; empty if the pod has none.
	HostsPath string
	// TerminationPath is the backing file of the termination message.
	TerminationPath string
	// TargetID is the ID of the container whose process namespace an ephemeral container joins.
	TargetID string
	// CPUs and MemoryNodes pin the container (cpuset.cpus, cpuset.mems); empty does not.
	CPUs, MemoryNodes string
	// NoCPUQuota lifts the CPU limit, for containers with CPUs of their own.
	NoCPUQuota bool
	// Plugin is what device plugins and resource claims add.
	Plugin Plugin
}

// Volume is a volume that is set up.
type Volume struct {
	// HostPath is where it is on the host; empty for an image volume.
	HostPath string
	// ReadOnly says that no container may write to it, whatever its mounts say: secret, configMap, downwardAPI and
	// projected volumes.
	ReadOnly bool
	// Device is the block device of a volume of mode Block, which has no HostPath then.
	Device string
	// Group is a group that containers with the volume are in (annotation pv.beta.kubernetes.io/gid); nil for none.
	Group *int64
	// Relabel asks the runtime to give the volume the container's SELinux label.
	Relabel bool
	// Image is set for an image volume, which the runtime mounts itself.
	Image *runtimeapi.ImageSpec
}

// BlockDevice is a block volume that is mapped.
type BlockDevice struct {
	HostPath string
	ReadOnly bool
}

// Plugin is what device plugins and resource claims add to a container.
type Plugin struct {
	Env         []environ.Var
	Mounts      []*runtimeapi.Mount
	Devices     []*runtimeapi.Device
	CDI         []string
	Annotations map[string]string
}

// Remark is something people should hear of though nothing failed. Reason is a word of package reason.
type Remark struct{ Reason, Message string }

// ConfigError says why a pod cannot be translated, in words for users. Reason is a word of package reason.
type ConfigError struct{ Reason, Message string }

// Error is the message.
func (e *ConfigError) Error() string { return e.Message }

func isTrue(b *bool) bool { return b != nil && *b }

// describe names a pod as events do: name_namespace(uid).
func describe(p *v1.Pod) string { return p.Name + "_" + p.Namespace + "(" + string(p.UID) + ")" }
