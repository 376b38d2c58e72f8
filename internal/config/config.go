package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	kubelet "k8s.io/kubelet/config/v1beta1"
)

// KubeletConfiguration is the config file's type, as upstream publishes it.
type KubeletConfiguration = kubelet.KubeletConfiguration

// Config is everything Bosun was told at start: the kubelet configuration after files, flags and defaults were put together,
// and the settings that exist only as flags. It is not changed after Load.
type Config struct {
	// Kubelet has every default filled in; apiVersion and kind are set.
	Kubelet KubeletConfiguration

	// ConfigFile and ConfigDir are the files Kubelet was read from; empty when none was. A --config that turned out to name
	// manifests is in Kubelet.StaticPodPath instead.
	ConfigFile, ConfigDir string

	// Kubeconfig names the API server's credentials; empty together with BootstrapKubeconfig means standalone.
	Kubeconfig, BootstrapKubeconfig string
	// HostnameOverride is the node's name in lower case; empty means the host's own name.
	HostnameOverride string
	// NodeIPs holds no address, one, or one of each family. An unspecified address asks for that family.
	NodeIPs []netip.Addr
	// NodeLabels are put on the Node object at registration.
	NodeLabels map[string]string
	// CloudProvider is "" or "external".
	CloudProvider string
	// RootDir holds all state. Default /var/lib/kubelet.
	RootDir string
	// CertDir holds certificates. Default /var/lib/kubelet/pki, wherever RootDir is.
	CertDir string
	// ImageCredentialProviderConfig and ImageCredentialProviderBinDir are both set or both empty.
	ImageCredentialProviderConfig, ImageCredentialProviderBinDir string
	// LockFile, if set, is held while running; with ExitOnLockContention the holder leaves when another wants it.
	LockFile             string
	ExitOnLockContention bool
	// RuntimeCgroups is the cgroup the container runtime runs in, for statistics.
	RuntimeCgroups string
	// HousekeepingInterval is the time between two collections of container statistics. Default 10s.
	HousekeepingInterval time.Duration

	// DeadContainers says how long and how many exited containers are kept.
	DeadContainers DeadContainers
	// MounterPath is --experimental-mounter-path; EvictionOutsideAllocatable is --experimental-allocatable-ignore-eviction.
	MounterPath                string
	EvictionOutsideAllocatable bool

	// RuntimeDir holds the binaries of the containerd that `bosun up` may start; Images holds image tarballs to load.
	RuntimeDir, Images string
	// Detach leaves pods running when `bosun up` ends.
	Detach bool
	// OfflineRestart keeps accepted pods of the API, with the ConfigMaps and Secrets they use, below RootDir, so that they run
	// again after a reboot while the API server is away.
	OfflineRestart bool
	// LocalObjects is --local-objects and NodeAPI --node-api, as given; see UsesLocalObjects and ServesNodeAPI. NodeAPIPort is its
	// port on loopback; 0 for any.
	LocalObjects, NodeAPI bool
	NodeAPIPort           int32
	// Ledger is the file that remembers what must survive a crash. Default RootDir/bosun.db.
	Ledger string

	// Help and Version are set when the user asked for nothing but these; then nothing was read or validated.
	Help bool
	// Version is "" (not asked), "true", "raw", or a version to claim, as in --version=v1.2.3.
	Version string
	// Args are the arguments that are not flags, in order. Empty unless Env.Operands.
	Args []string

	// Warnings are lines the user should act on, Notes lines worth one look. Both are complete sentences.
	Warnings, Notes []string

	given map[string]bool
}

// DeadContainers are the limits on exited containers that are kept for their logs.
type DeadContainers struct {
	// MinAge protects a container that exited less than this ago. Default 0.
	MinAge time.Duration
	// PerContainer is how many old copies of one container are kept. Default 1; negative means all.
	PerContainer int
	// Total is how many are kept on the node. Default -1, no limit.
	Total int
}

// Standalone reports whether there is no API server.
func (c *Config) Standalone() bool { return c.Kubeconfig == "" && c.BootstrapKubeconfig == "" }

// UsesLocalObjects reports whether pods of files and URLs use ConfigMaps and Secrets of manifests beside them: without an API
// server unless that is turned off, with one only if that is asked for.
func (c *Config) UsesLocalObjects() bool {
	if c.IsSet("--local-objects") {
		return c.LocalObjects
	}
	return c.Standalone()
}

// ServesNodeAPI reports whether the node has an API of its own. A node with an API server never has.
func (c *Config) ServesNodeAPI() bool {
	return c.Standalone() && (c.NodeAPI || !c.IsSet("--node-api"))
}

// IsSet reports whether the user named it: a top-level config field as in "maxPods", by file or by flag, or a flag as in
// "--root-dir".
func (c *Config) IsSet(name string) bool { return c.given[name] }

const masked = "<masked>"

// Redacted returns a copy that may be logged or served: header values, and passwords and queries in URLs, are masked.
func (c *Config) Redacted() *Config {
	r := *c
	r.Kubelet = *c.Kubelet.DeepCopy()
	for name, values := range r.Kubelet.StaticPodURLHeader {
		for i := range values {
			values[i] = masked
		}
		r.Kubelet.StaticPodURLHeader[name] = values
	}
	r.Kubelet.StaticPodURL = redactURL(r.Kubelet.StaticPodURL)
	r.Args = slices.Clone(c.Args)
	for i, arg := range r.Args {
		if strings.Contains(arg, "://") {
			r.Args[i] = redactURL(arg)
		}
	}
	return &r
}

// FlagValues are all flags by name with the values in force, as they would be written, wherever they come from; what may hold
// secrets is masked.
func (c *Config) FlagValues() map[string]string {
	r := c.Redacted()
	values := map[string]string{}
	for _, f := range flagTable() {
		shown := f.bind(r).show()
		if plain, err := strconv.Unquote(shown); err == nil { // the quotes are help's
			shown = plain
		}
		values[f.name] = shown
	}
	return values
}

// redactURL masks the user part and the query, where tokens are kept. What is not a URL is masked whole, since it cannot be
// said where in it a secret is.
func redactURL(s string) string {
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil {
		return masked
	}
	if u.User != nil {
		u.User = url.User("masked")
	}
	if u.RawQuery != "" {
		u.RawQuery = "masked"
	}
	return u.String()
}
