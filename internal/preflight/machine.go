package preflight

import (
	"net/netip"
	"time"
)

// A Machine is what Gather read. What could not be read is missing, and no rule complains of what is not known.
type Machine struct {
	// Root is true for user 0; Missing are capabilities that Bosun uses and this process lacks, as in "SYS_ADMIN".
	Root    bool
	Missing []string

	// Kernel is the release, as in "6.12.48-amd64"; Features are by their name in the kernel's configuration.
	Kernel   string
	Features map[string]Support
	// Namespaces lists the kinds this kernel has: "mnt", "net", "pid", …
	Namespaces []string
	// Overlay is nil when an overlay mount below RootDir worked or was not tried.
	Overlay error

	Cgroup Cgroup

	// Runtimes are the endpoints that were asked, in order: the named one, or the usual ones and our own.
	Runtimes []Runtime
	// Programs and Plugins say where what our own runtime needs was found; "" if nowhere.
	Programs, Plugins map[string]string
	// Iptables and Nft say whether these programs are in PATH.
	Iptables, Nft bool

	Listeners []Listener
	// Kubelets are running processes named kubelet.
	Kubelets []Process
	// LockHolder holds Config.LockFile; zero if nobody does.
	LockHolder Process

	Swaps []Swap
	// Disks are the file systems of RootDir and PodLogsDir, each once.
	Disks []Disk

	// OpenFiles is the hard limit of open files of this process; 0 is unknown.
	OpenFiles uint64
	// Sysctls are by their dotted name.
	Sysctls map[string]string

	Now time.Time
	// Unsynchronised is true when the kernel says that nobody keeps its clock right.
	Unsynchronised bool

	Resolver Resolver
}

// Support is how the kernel has a feature.
type Support int

const (
	Unknown Support = iota
	Built           // part of the kernel, or a module that is loaded
	Module          // a module that can be loaded
	Absent          // a module whose file is missing, or nothing
)

// Cgroup is how control groups are mounted.
type Cgroup struct {
	// Version is "v1", "v2", "hybrid" (v1 with an empty v2 beside), or "" when none is mounted.
	Version string
	// Controllers that can be used, and Disabled that the kernel has but was told not to use.
	Controllers, Disabled []string
	// ReadOnly is true when groups cannot be made.
	ReadOnly bool
}

// A Runtime is an endpoint and what came back from it.
type Runtime struct {
	Endpoint string
	// Name and Version are empty when it did not answer; Err then says why.
	Name, Version string
	Err           error
	// NotReady is what an answering runtime says it is not ready for.
	NotReady []string
}

// A Process is one, or with PID 0 none that is known.
type Process struct {
	PID  int
	Name string
}

// A Listener has a TCP port.
type Listener struct {
	Address netip.Addr
	Port    uint16
	Process Process
}

// A Swap is a device or file that is swapped to.
type Swap struct {
	Name string
	// Bytes is its size.
	Bytes uint64
}

// A Disk is a file system that Bosun writes to.
type Disk struct {
	// Path is the directory it was asked for, Type its file system's name, as in "ext4".
	Path, Type string
	// What is free counts for users without privileges. Inodes is 0 where the file system does not count them.
	Bytes, FreeBytes, Inodes, FreeInodes uint64
	ReadOnly                             bool
}

// A Resolver is what a resolv.conf says.
type Resolver struct {
	// Read is false when there is no such file.
	Read    bool
	Servers []netip.Addr
	// Upstream is systemd-resolved's list of the real servers, if that file is there.
	Upstream string
}
