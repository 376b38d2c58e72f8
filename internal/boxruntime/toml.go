package boxruntime

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Snapshotters we know how to configure.
const (
	overlayfs = "overlayfs"
	native    = "native"
)

// facts are what the machine and the binaries tell; with the Config they decide all of containerd's configuration.
type facts struct {
	snapshotter string
	// systemd is PID 1.
	systemd bool
	// resourceCap is CAP_SYS_RESOURCE: without it no process may lower its OOM score.
	resourceCap bool
	// version is containerd's, for example {2, 3}.
	version version
}

// renderTOML gives containerd's config.toml. It is in format 3, which every containerd since 2.0 reads.
func renderTOML(c Config, f facts) []byte {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	q := quoteTOML

	line("# Written by Bosun at every start. Your own settings belong into %s.", filepath.Join(c.Root, "config.d", "*.toml"))
	line("version = 3")
	line("root = %s", q(filepath.Join(c.Root, "containerd")))
	line("state = %s", q(filepath.Join(c.RunDir, "state")))
	line("imports = [%s]", q(filepath.Join(c.Root, "config.d", "*.toml")))
	if f.resourceCap {
		line("oom_score = -999")
	}
	line("\n[grpc]\n  address = %s", q(c.SocketPath))
	line("\n[debug]\n  level = %s", q(c.LogLevel))
	if c.Cgroup != "" {
		line("\n[cgroup]\n  path = %s", q(c.Cgroup))
	}

	line("\n[plugins.'io.containerd.cri.v1.images']\n  snapshotter = %s", q(f.snapshotter))
	line("[plugins.'io.containerd.cri.v1.images'.pinned_images]\n  sandbox = %s", q(c.SandboxImage))
	line("[plugins.'io.containerd.cri.v1.images'.registry]\n  config_path = %s", q(filepath.Join(c.Root, "certs.d")))

	line("\n[plugins.'io.containerd.cri.v1.runtime']")
	line("  restrict_oom_score_adj = %t", !f.resourceCap)
	line("  enable_cdi = true")
	// So that all network namespaces of this runtime, and no others, are below its own directory.
	line("  netns_mounts_under_state_dir = true")
	line("[plugins.'io.containerd.cri.v1.runtime'.containerd]\n  default_runtime_name = 'runc'")
	line("[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]\n  runtime_type = 'io.containerd.runc.v2'")
	line("[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]")
	line("  BinaryName = %s", q(filepath.Join(c.RuntimeDir, "runc")))
	line("  SystemdCgroup = %t", f.systemd)
	var dirs []string
	for _, dir := range c.CNIBinDirs {
		dirs = append(dirs, q(dir))
	}
	line("[plugins.'io.containerd.cri.v1.runtime'.cni]\n  bin_dirs = [%s]\n  conf_dir = %s", strings.Join(dirs, ", "), q(c.netDir()))

	line("\n[plugins.'io.containerd.grpc.v1.cri']\n  disable_tcp_service = true")
	line("  stream_server_address = '127.0.0.1'\n  stream_server_port = '0'")

	line("\n[plugins.'io.containerd.internal.v1.opt']\n  path = %s", q(filepath.Join(c.Root, "opt")))
	// Its socket is at a fixed path, which belongs to the machine's containerd if there is one.
	line("[plugins.'io.containerd.nri.v1.nri']\n  disable = true")
	if f.version.atLeast(2, 3) {
		line("[plugins.'io.containerd.shim.v1.manager']\n  socket_dir = %s", q(filepath.Join(c.RunDir, "s")))
	}
	return []byte(b.String())
}

// quoteTOML gives s, which has no control characters, as a basic TOML string.
func quoteTOML(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// version is a release, as far as we ask: major and minor.
type version struct{ major, minor int }

func (v version) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

// parseVersion reads what `containerd --version` prints: "containerd github.com/containerd/containerd/v2 v2.3.7 0123abc".
func parseVersion(line string) (version, error) {
	for _, word := range strings.Fields(line) {
		var v version
		if n, _ := fmt.Sscanf(strings.TrimPrefix(word, "v"), "%d.%d.", &v.major, &v.minor); n == 2 {
			return v, nil
		}
	}
	return version{}, fmt.Errorf("no version in %q", strings.TrimSpace(line))
}
