package usage

import "time"

// Depth says how much is read.
type Depth uint8

// The depths; each holds the ones before it.
const (
	// Basic are processors and memory of the node, the pods and their containers.
	Basic Depth = iota
	// Storage adds pressure, networks, file systems, volumes, logs, writable layers and system containers.
	Storage
	// Detail adds what only Prometheus asks for: input and output by disk, limits, processes and their files.
	Detail
)

// Snapshot is one look at everything.
type Snapshot struct {
	// At is when the look began. Each part says itself when it was read.
	At    time.Time
	Depth Depth
	Node  Node
	// Pods are in the order they were asked for.
	Pods []Pod
	// Groups are the cgroups that hold all pods, and all of a QoS class. Read at Detail only.
	Groups []Cgroup
	// Missed counts what was there and could not be read.
	Missed int
}

// Node is what the whole machine uses.
type Node struct {
	Cgroup Cgroup
	// Booted is when the machine started.
	Booted time.Time
	// Capacity is the machine's memory in bytes, HugePages how much of it is set aside for huge pages.
	Capacity, HugePages Number
	// SwapCapacity and SwapFree are in bytes.
	SwapCapacity, SwapFree Number
	Network                *Network
	// FS holds the agent's state and volumes, Images the images, Layers what containers wrote; in Images and Layers, Used is
	// what these take, not what all on the file system takes.
	FS, Images, Layers *Filesystem
	// MaxTasks is how many processes and threads the kernel allows, Tasks how many there are.
	MaxTasks, Tasks Number
	// Disks are all disks of the machine, and Mounts the file systems on them.
	Disks  []Disk
	Mounts []Filesystem
	// System are the cgroups of the agent, the runtime and of all pods.
	System []System
}

// System is a cgroup with a part in the node: kubelet, runtime or pods.
type System struct {
	Name string
	Cgroup
}

// Pod is what one pod uses.
type Pod struct {
	Namespace, Name, UID string
	// Started is when its sandbox was made.
	Started time.Time
	// Cgroup is the pod's own; without a Path it has none.
	Cgroup     Cgroup
	Sandbox    Container
	Containers []Container
	// Network is nil for a pod in the node's network.
	Network *Network
	Volumes []Volume
	// Ephemeral is what its containers' layers and logs, and its volumes on the node's own disk take together.
	Ephemeral *Filesystem
}

// Container is what one container, or a sandbox, uses.
type Container struct {
	Name, ID, Image string
	Started         time.Time
	Cgroup          Cgroup
	// Layer is what it wrote into its own file system, Logs what its logs take.
	Layer, Logs *Filesystem
}

// Cgroup is what the processes of one cgroup use together.
type Cgroup struct {
	// Path is below the cgroup mounts: "/" is the node.
	Path string
	// At is when it was read; zero if it was not there.
	At time.Time
	// Made is when the cgroup was made; not read at Basic.
	Made      time.Time
	CPU       CPU
	Memory    Memory
	IO        *Pressure
	Disks     []Disk
	Processes Processes
}

// CPU is use of processors. Times are in nanoseconds.
type CPU struct {
	Usage, User, System Number
	// NanoCores is how many billionths of a processor were in use lately.
	NanoCores Number
	// Periods of the quota that went by, those in which processes were throttled, and for how long.
	Periods, Throttled, ThrottledFor Number
	// Bursts are periods in which saved quota was used, BurstFor for how long.
	Bursts, BurstFor Number
	// Shares, Quota and Period are the limits; the latter two in microseconds. Quota is unknown if there is none.
	Shares, Quota, Period Number
	Pressure              *Pressure
}

// Memory is use of memory, in bytes where nothing else is said.
type Memory struct {
	Usage, WorkingSet, RSS, Cache, Mapped, Kernel Number
	ActiveFile, InactiveFile, Dirty, Writeback    Number
	// MaxUsage is the most that was ever used, Refused how often the limit was hit.
	MaxUsage, Refused Number
	// Limit is unknown if there is none. So is SwapLimit, which is for swap alone.
	Limit, Reservation, Swap, SwapLimit Number
	// Faults and MajorFaults are counts; the Own ones leave out cgroups further down.
	Faults, MajorFaults, OwnFaults, OwnMajorFaults Number
	// Counts of pages.
	Scanned, Reclaimed, RefaultedFile, RefaultedAnon Number
	// HighEvents, MaxEvents and OOMKills are how often processes were slowed down, refused, killed.
	HighEvents, MaxEvents, OOMKills Number
	Pressure                        *Pressure
}

// Pressure is how much processes had to wait for something: some of them, or all at once.
type Pressure struct{ Some, Full Stall }

// Stall is time spent waiting.
type Stall struct {
	// In percent of the last 10, 60 and 300 seconds.
	Avg10, Avg60, Avg300 float64
	Total                time.Duration
}

// Processes counts processes and what they hold.
type Processes struct {
	// Threads counts those of cgroups further down, too; MaxThreads is unknown if there is no limit.
	Threads, MaxThreads Number
	// Processes, Files (open ones) and Sockets are those of the cgroup itself.
	Processes, Files, Sockets Number
	// OpenFiles is the soft limit for open files of the first process.
	OpenFiles Number
}

// Disk is what went to and from a disk.
type Disk struct {
	Major, Minor uint32
	// Device is its file, such as /dev/sda; empty if it has none.
	Device                                string
	Reads, Writes, ReadBytes, WriteBytes  Number
	ReadsMerged, WritesMerged             Number
	ReadSectors, WriteSectors             Number
	ReadTime, WriteTime, IOTime, Weighted Number // in milliseconds
	InFlight                              Number
}

// Filesystem is how full a file system is, or what something takes of it.
type Filesystem struct {
	At     time.Time
	Device string
	// In bytes.
	Capacity, Available, Used Number
	// Inodes of the file system; InodesUsed is of whatever Used is of.
	Inodes, InodesFree, InodesUsed Number
}

// Network counts what went over the interfaces of one network namespace.
type Network struct {
	At    time.Time
	Links []Link
	// Main says which of them leads out; -1 if it is not known.
	Main int
}

// Link is one network interface.
type Link struct {
	Name                                  string
	RxBytes, RxPackets, RxErrors, RxDrops uint64
	TxBytes, TxPackets, TxErrors, TxDrops uint64
}

// Volume is how full a volume is.
type Volume struct {
	Name string
	// Claim is the claim it was made for; empty if there is none.
	Claim string
	Filesystem
	// Local tells that it takes of the node's own disk.
	Local bool
}
