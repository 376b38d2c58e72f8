package boxruntime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Programs are what a runtime directory must hold.
func Programs() []string { return []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc"} }

// NetworkPlugins are what the pod network is made of.
func NetworkPlugins() []string { return []string{"bridge", "host-local", "loopback", "portmap"} }

// DefaultPluginDir is where distributions and installers put network plugins.
const DefaultPluginDir = "/opt/cni/bin"

// checkBinaries says which programs are missing.
func checkBinaries(c Config) error {
	var missing []string
	for _, name := range Programs() {
		if !executable(filepath.Join(c.RuntimeDir, name)) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the runtime directory %s has no %s: build them with `make tools`, or name a directory that has them with --runtime-dir",
			c.RuntimeDir, strings.Join(missing, ", "))
	}
	if !c.ownNetwork() {
		return nil
	}
	for _, name := range NetworkPlugins() {
		if pluginPath(c, name) == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("no network plugin %s in %s: build them with `make tools`, or install the package containernetworking-plugins and name its directory",
			strings.Join(missing, ", "), strings.Join(c.CNIBinDirs, ", "))
	}
	return nil
}

func pluginPath(c Config, name string) string {
	for _, dir := range c.CNIBinDirs {
		if path := filepath.Join(dir, name); executable(path) {
			return path
		}
	}
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// identity changes whenever the program behind path does.
func identity(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(real)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d %d", real, info.Size(), info.ModTime().UnixNano()), nil
}

// askVersion runs `containerd --version`.
func askVersion(ctx context.Context, path string) (version, error) {
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return version{}, fmt.Errorf("run %s --version: %w: %s", path, err, strings.TrimSpace(string(out)))
	}
	v, err := parseVersion(string(out))
	if err != nil {
		return version{}, fmt.Errorf("run %s --version: %w", path, err)
	}
	if !v.atLeast(2, 0) {
		return version{}, fmt.Errorf("%s is version %d.%d, Bosun needs containerd 2.0 or newer: build one with `make tools`", path, v.major, v.minor)
	}
	return v, nil
}

// systemdIsInit is systemd's own test for having been booted.
func systemdIsInit() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// haveResourceCap says whether this process has CAP_SYS_RESOURCE, which containerd inherits.
func haveResourceCap() bool {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if mask, ok := strings.CutPrefix(line, "CapEff:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && bits&(1<<unix.CAP_SYS_RESOURCE) != 0
		}
	}
	return false
}

// OverlayWorks says whether image layers can be stacked below dir. It mounts an overlay there and unmounts it, as the only
// sure way to know: the kernel, the file system and a container around us each may refuse. Needs root.
func OverlayWorks(dir string) error {
	base, err := os.MkdirTemp(dir, "overlay-test-")
	if err != nil {
		return fmt.Errorf("try an overlay mount: %w", err)
	}
	defer func() { _ = os.RemoveAll(base) }()
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o755); err != nil {
			return fmt.Errorf("try an overlay mount: %w", err)
		}
	}
	in := func(name string) string {
		return strings.NewReplacer(`\`, `\\`, ",", `\,`, ":", `\:`).Replace(filepath.Join(base, name))
	}
	options := "lowerdir=" + in("lower") + ",upperdir=" + in("upper") + ",workdir=" + in("work")
	merged := filepath.Join(base, "merged")
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount an overlay below %s: %w", dir, err)
	}
	if err := unix.Unmount(merged, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the overlay at %s: %w", merged, err)
	}
	return nil
}

// forwardDropped says whether the host drops forwarded packets unless a rule lets them through.
func forwardDropped(ctx context.Context) bool {
	path, err := exec.LookPath("iptables")
	if err != nil {
		return false
	}
	out, err := exec.CommandContext(ctx, path, "-w", "-S", "FORWARD").Output()
	if err != nil {
		return false
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return first == "-P FORWARD DROP"
}

// fingerprint covers all that containerd reads only when it starts. The network's configuration is not among it:
// containerd watches that directory.
func fingerprint(c Config, toml []byte, env []string) (string, error) {
	hash := sha256.New()
	part := func(s string) { fmt.Fprintf(hash, "%d:%s\n", len(s), s) }
	part(string(toml))
	for _, v := range env {
		part(v)
	}
	id, err := identity(filepath.Join(c.RuntimeDir, "containerd"))
	if err != nil {
		return "", fmt.Errorf("look at containerd: %w", err)
	}
	part(id)
	additions, err := filepath.Glob(filepath.Join(c.Root, "config.d", "*.toml"))
	if err != nil {
		return "", fmt.Errorf("look for additions to containerd's configuration: %w", err)
	}
	for _, file := range additions {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read an addition to containerd's configuration: %w", err)
		}
		part(file)
		part(string(data))
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// environment is what containerd, and with it shims, runc and plugins, get to see: where programs are and how to reach
// registries. Bosun's own NOTIFY_SOCKET, credentials and the like stay out.
func environment(c Config) []string {
	env := []string{"PATH=" + c.RuntimeDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// chooseSubnet decides where pods get addresses from. A remembered subnet is kept while its bridge is there, since pods
// may use it; the note says when that is not good.
func chooseSubnet(wanted, remembered netip.Prefix, taken []netip.Prefix, inUse bool) (chosen netip.Prefix, note string, err error) {
	switch {
	case wanted.IsValid() && inUse && remembered.IsValid() && wanted != remembered:
		return netip.Prefix{}, "", fmt.Errorf("subnet %s is wanted, but pods may still use %s: stop them and the runtime first", wanted, remembered)
	case wanted.IsValid():
		chosen = wanted
	case remembered.IsValid() && (inUse || overlapping(remembered, taken) == netip.Prefix{}):
		chosen = remembered
	default:
		chosen, err = pickSubnet(taken)
		return chosen, "", err
	}
	if t := overlapping(chosen, taken); t.IsValid() {
		note = fmt.Sprintf("the pods' subnet %s overlaps the host's route to %s: what lies there cannot be reached from this machine", chosen, t)
	}
	return chosen, note, nil
}

// prepareDirs makes the directories. Those that lead to containers' files may be passed through, not read, by others:
// containers with a user namespace need that.
func prepareDirs(c Config) error {
	dirs := []string{c.Root, c.RunDir, filepath.Dir(c.SocketPath), filepath.Join(c.Root, "certs.d"), filepath.Join(c.Root, "config.d")}
	if c.ownNetwork() {
		dirs = append(dirs, c.netDir(), c.ipamDir())
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return fmt.Errorf("make the runtime's directories: %w", err)
		}
	}
	return nil
}

// writeFile replaces file by data, completely or not at all, and leaves it alone when it says the same already.
func writeFile(file string, data []byte, mode os.FileMode) error {
	if old, err := os.ReadFile(file); err == nil && slices.Equal(old, data) {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
