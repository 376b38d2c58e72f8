package preflight

import (
	"net/netip"
	"path/filepath"

	"github.com/bosun-project/bosun/internal/boxruntime"
)

// Config says what Bosun is going to do on this machine.
type Config struct {
	// Up is true for `bosun up`, which is content with more than a kubelet of a cluster.
	Up bool

	// RootDir holds all state, PodLogsDir the pods' logs.
	RootDir, PodLogsDir string
	// Ports are those Bosun will listen on.
	Ports []Port
	// LockFile is --lock-file, empty without.
	LockFile string
	// ResolvConf is the file pods get their DNS servers from; empty: pods get none from the host.
	ResolvConf string

	// Endpoint is the runtime's, if one was named. Else Usual are asked, and when none answers Bosun starts its own.
	Endpoint string
	Usual    []string
	// RuntimeDir holds the programs for a runtime of our own; Box is that runtime's endpoint, which may run already.
	RuntimeDir, Box string
	// CNIBinDirs hold network plugins, for a runtime of our own. Default RuntimeDir and /opt/cni/bin.
	CNIBinDirs []string

	// These are the fields of the KubeletConfiguration with the same names.
	FailSwapOn, FailCgroupV1, ProtectKernelDefaults bool
}

// A Port is one that Bosun will listen on.
type Port struct {
	// Name is the field that sets it, as in "readOnlyPort".
	Name   string
	Number uint16
	// Address is the one it listens on; invalid or unspecified means all.
	Address netip.Addr
}

func (c Config) pluginDirs() []string {
	if len(c.CNIBinDirs) > 0 {
		return c.CNIBinDirs
	}
	var dirs []string
	if c.RuntimeDir != "" {
		dirs = append(dirs, filepath.Clean(c.RuntimeDir))
	}
	return append(dirs, boxruntime.DefaultPluginDir)
}
