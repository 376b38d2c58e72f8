package boxruntime

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"unicode"
)

// DefaultSandboxImage holds a pod's namespaces. It is pinned: no image garbage collection removes it.
const DefaultSandboxImage = "registry.k8s.io/pause:3.10.2"

// Config says where the runtime lives. RuntimeDir and Root are required and absolute, all else has a default.
type Config struct {
	// RuntimeDir holds containerd, containerd-shim-runc-v2, ctr and runc.
	RuntimeDir string
	// Root holds what survives a reboot: images, containers, the network's choices. One Root is one runtime.
	Root string
	// RunDir holds sockets, mounts and the pid record; it should be on a tmpfs. Default /run/bosun/HASH-OF-ROOT.
	RunDir string
	// SocketPath is the CRI endpoint. Default RunDir/containerd.sock.
	SocketPath string

	// CNIBinDirs are searched for network plugins, in order. Default RuntimeDir, then /opt/cni/bin.
	CNIBinDirs []string
	// CNIConfDir is a directory with a network of the user's own. Default: Bosun writes a bridge network below Root.
	CNIConfDir string
	// Bridge names the bridge of Bosun's network, at most 15 characters. Default bosun-HASH-OF-ROOT.
	Bridge string
	// Subnet is where pods get their IPv4 addresses. Default: the first /20 that collides with no route of the host, kept
	// from then on.
	Subnet netip.Prefix

	// SandboxImage is the image that holds a pod's namespaces. Default DefaultSandboxImage.
	SandboxImage string
	// Snapshotter stores image layers: "overlayfs" or "native". Default overlayfs where the kernel and the file system of
	// Root allow it, else native; the choice is kept from then on.
	Snapshotter string
	// Cgroup is the cgroup containerd moves into, for example "/bosun-runtime". Default: it stays in Bosun's cgroup.
	Cgroup string
	// LogLevel is containerd's: trace, debug, info, warn, error. Default warn, since nobody rotates the log while it runs.
	LogLevel string

	// Log gets one line whenever the runtime is started, kept, lost or ended. Default: no log.
	Log *slog.Logger
}

// withDefaults fills in what is unset and refuses what cannot work.
func (c Config) withDefaults() (Config, error) {
	for _, d := range []struct{ name, path string }{{"RuntimeDir", c.RuntimeDir}, {"Root", c.Root}} {
		if !filepath.IsAbs(d.path) {
			return c, fmt.Errorf("%s is %q, want an absolute path", d.name, d.path)
		}
	}
	c.RuntimeDir, c.Root = filepath.Clean(c.RuntimeDir), filepath.Clean(c.Root)
	hash := sha256.Sum256([]byte(c.Root))
	short := hex.EncodeToString(hash[:4])
	setDefault(&c.RunDir, filepath.Join("/run/bosun", short))
	setDefault(&c.SocketPath, filepath.Join(c.RunDir, "containerd.sock"))
	setDefault(&c.Bridge, "bosun-"+short)
	setDefault(&c.SandboxImage, DefaultSandboxImage)
	setDefault(&c.LogLevel, "warn")
	if len(c.CNIBinDirs) == 0 {
		c.CNIBinDirs = []string{c.RuntimeDir, DefaultPluginDir}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, c.validate()
}

func setDefault(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// The kernel allows 107 bytes in the path of a unix socket; containerd adds ".ttrpc", and shims a hash of 64 digits.
const (
	maxSocketPath = 107 - len(".ttrpc")
	maxRunDir     = 107 - len("/s/") - 64
	maxInterface  = 15
)

func (c Config) validate() error {
	paths := []struct{ name, path string }{{"RuntimeDir", c.RuntimeDir}, {"Root", c.Root}, {"RunDir", c.RunDir},
		{"SocketPath", c.SocketPath}, {"CNIConfDir", c.CNIConfDir}}
	for i, dir := range c.CNIBinDirs {
		paths = append(paths, struct{ name, path string }{fmt.Sprintf("CNIBinDirs[%d]", i), dir})
	}
	for _, p := range paths {
		switch {
		case p.name == "CNIConfDir" && p.path == "":
		case !filepath.IsAbs(p.path):
			return fmt.Errorf("%s is %q, want an absolute path", p.name, p.path)
		case strings.ContainsFunc(p.path, unicode.IsControl):
			return fmt.Errorf("%s is %q, want a path without control characters", p.name, p.path)
		}
	}
	if c.Root == "/" || c.RunDir == "/" {
		return fmt.Errorf("the directories are Root %q and RunDir %q, want directories of the runtime's own", c.Root, c.RunDir)
	}
	if len(c.SocketPath) > maxSocketPath {
		return fmt.Errorf("socket path %q has %d bytes, want at most %d: the kernel allows no longer socket paths", c.SocketPath, len(c.SocketPath), maxSocketPath)
	}
	if len(c.RunDir) > maxRunDir {
		return fmt.Errorf("run directory %q has %d bytes, want at most %d: the shims' sockets below it could not be made", c.RunDir, len(c.RunDir), maxRunDir)
	}
	if len(c.Bridge) > maxInterface || strings.ContainsFunc(c.Bridge, func(r rune) bool { return r == '/' || r == ':' || unicode.IsSpace(r) }) {
		return fmt.Errorf("bridge is %q, want a network interface name: at most %d characters, no '/', ':' or space", c.Bridge, maxInterface)
	}
	if c.Subnet.IsValid() && (!c.Subnet.Addr().Is4() || c.Subnet.Bits() > 29 || c.Subnet != c.Subnet.Masked()) {
		return fmt.Errorf("subnet is %s, want an IPv4 network such as 10.90.0.0/20, with /29 or more room", c.Subnet)
	}
	if s := c.Snapshotter; s != "" && s != overlayfs && s != native {
		return fmt.Errorf("snapshotter is %q, want %q or %q", s, overlayfs, native)
	}
	return nil
}

// Where things lie below Root and RunDir; doc.go has the picture.
func (c Config) configFile() string  { return filepath.Join(c.Root, "config.toml") }
func (c Config) logFile() string     { return filepath.Join(c.Root, "containerd.log") }
func (c Config) choicesFile() string { return filepath.Join(c.Root, "box.json") }
func (c Config) imagesFile() string  { return filepath.Join(c.Root, "images.json") }
func (c Config) ipamDir() string     { return filepath.Join(c.Root, "cni", "ipam") }
func (c Config) recordFile() string  { return filepath.Join(c.RunDir, "containerd.json") }
func (c Config) lockFile() string    { return filepath.Join(c.RunDir, "lock") }

// ownNetwork is false when the user brought a network of their own.
func (c Config) ownNetwork() bool { return c.CNIConfDir == "" }

func (c Config) netDir() string {
	if c.ownNetwork() {
		return filepath.Join(c.Root, "cni", "net.d")
	}
	return c.CNIConfDir
}
