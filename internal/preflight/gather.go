package preflight

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/boxruntime"
)

// Gather reads this machine, as far as c makes it matter. Runtimes that do not answer within two seconds count as absent;
// all else takes milliseconds.
func Gather(ctx context.Context, c Config) Machine {
	var m Machine
	var asked sync.WaitGroup
	asked.Go(func() { m.Runtimes = askRuntimes(ctx, c) })

	m.Root = os.Geteuid() == 0
	m.Missing = missingCapabilities(read("/proc/self/status"))
	m.Kernel = strings.TrimSpace(read("/proc/sys/kernel/osrelease"))
	m.Features = kernelFeatures(m.Kernel)
	m.Namespaces = ownNamespaces()
	m.Cgroup = readCgroup()
	m.Programs, m.Plugins = map[string]string{}, map[string]string{}
	for _, name := range boxruntime.Programs() {
		m.Programs[name] = find(name, []string{c.RuntimeDir})
	}
	for _, name := range boxruntime.NetworkPlugins() {
		m.Plugins[name] = find(name, c.pluginDirs())
	}
	m.Iptables, m.Nft = inPath("iptables"), inPath("nft")

	m.Listeners = listeners(c.Ports)
	m.Kubelets = kubelets()
	m.LockHolder = lockHolder(c.LockFile)
	m.Swaps = parseSwaps(read("/proc/swaps"))
	m.Disks = disks(c.RootDir, c.PodLogsDir)
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil {
		m.OpenFiles = files.Max
	}
	m.Sysctls = sysctls()
	m.Now = time.Now()
	var clock unix.Timex // all zero: only read
	if _, err := unix.Adjtimex(&clock); err == nil {
		m.Unsynchronised = clock.Status&unix.STA_UNSYNC != 0
	}
	m.Resolver = readResolver(c.ResolvConf)

	asked.Wait()
	if m.Root && c.Up && ownRuntime(m) {
		m.Overlay = boxruntime.OverlayWorks(existing(c.RootDir))
	}
	return m
}

// read gives a small file's text, or nothing.
func read(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(data)
}

// askRuntimes asks all endpoints side by side.
func askRuntimes(ctx context.Context, c Config) []Runtime {
	endpoints := slices.Clone(c.Usual)
	if c.Endpoint != "" {
		endpoints = []string{c.Endpoint}
	} else if c.Box != "" {
		// Last: a runtime of the machine goes before one that Bosun left running.
		endpoints = append(endpoints, c.Box)
	}
	runtimes := make([]Runtime, len(endpoints))
	var asked sync.WaitGroup
	for i, endpoint := range endpoints {
		asked.Go(func() {
			r := Runtime{Endpoint: endpoint}
			answer, err := boxruntime.Answers(ctx, endpoint)
			if err == nil {
				r.Name, r.Version = answer.Name, answer.Version
				if r.NotReady, err = boxruntime.NotReady(ctx, endpoint); err != nil {
					r.NotReady = []string{err.Error()}
				}
			}
			r.Err = err
			runtimes[i] = r
		})
	}
	asked.Wait()
	return runtimes
}

// find returns the path of a program in the first directory that has it.
func find(name string, dirs []string) string {
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); dir != "" && err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// inPath looks where network plugins look too: they are started with the usual directories of root.
func inPath(name string) bool {
	if _, err := exec.LookPath(name); err == nil {
		return true
	}
	return find(name, []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}) != ""
}

// existing is the nearest directory at or above dir that is there.
func existing(dir string) string {
	for dir != "/" && dir != "." {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "/"
}

// disks looks at the file systems of the directories, or where they will be.
func disks(dirs ...string) []Disk {
	var found []Disk
	seen := map[uint64]bool{}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		at := existing(dir)
		var node unix.Stat_t
		var fs unix.Statfs_t
		if errors.Join(unix.Stat(at, &node), unix.Statfs(at, &fs)) != nil || seen[uint64(node.Dev)] {
			continue
		}
		seen[uint64(node.Dev)] = true
		block := uint64(fs.Bsize)
		found = append(found, Disk{
			Path: dir, Type: fileSystem(int64(fs.Type)),
			Bytes: fs.Blocks * block, FreeBytes: fs.Bavail * block, Inodes: fs.Files, FreeInodes: fs.Ffree,
			ReadOnly: fs.Flags&unix.ST_RDONLY != 0,
		})
	}
	return found
}

// fileSystem names the common ones.
func fileSystem(magic int64) string {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs, gone after a reboot"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs"
	case 0x2fc12fc1:
		return "zfs"
	}
	return "another file system"
}

// sysctls reads those that some rule asks for.
func sysctls() map[string]string {
	names := []string{"net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables"}
	for _, l := range least {
		names = append(names, l.sysctl)
	}
	for _, d := range kernelDefaults {
		names = append(names, d.name)
	}
	values := map[string]string{}
	for _, name := range names {
		if data, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/")); err == nil {
			values[name] = strings.TrimSpace(string(data))
		}
	}
	return values
}

func readResolver(file string) Resolver {
	if file == "" {
		return Resolver{}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return Resolver{}
	}
	r := Resolver{Read: true, Servers: parseServers(string(data))}
	const upstream = "/run/systemd/resolve/resolv.conf"
	if _, err := os.Stat(upstream); err == nil && file != upstream {
		r.Upstream = upstream
	}
	return r
}
