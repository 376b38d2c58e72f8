package preflight

import (
	"bufio"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// kernelFeatures finds out how the running kernel has each feature of the table.
func kernelFeatures(release string) map[string]Support {
	modules := "/lib/modules/" + release
	return parseFeatures(kernelConfig(release), read("/proc/modules"), read(modules+"/modules.builtin"), read(modules+"/modules.dep"))
}

// kernelConfig opens the kernel's configuration, wherever it is kept, and reads the lines that are about a feature.
func kernelConfig(release string) map[string]string {
	if f, err := os.Open("/proc/config.gz"); err == nil {
		defer func() { _ = f.Close() }()
		if unzipped, err := gzip.NewReader(f); err == nil {
			return parseKernelConfig(unzipped)
		}
	}
	for _, file := range []string{"/boot/config-" + release, "/lib/modules/" + release + "/config"} {
		if f, err := os.Open(file); err == nil {
			defer func() { _ = f.Close() }()
			return parseKernelConfig(f)
		}
	}
	return nil
}

// parseKernelConfig reads lines CONFIG_NAME=y. Features that are left out there map to "n", so that no answer and no
// feature are different things.
func parseKernelConfig(r io.Reader) map[string]string {
	config := map[string]string{}
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok && strings.HasPrefix(name, "CONFIG_") {
			config[strings.TrimPrefix(name, "CONFIG_")] = value
		}
	}
	if len(config) == 0 {
		return nil
	}
	for _, f := range features {
		if config[f.option] == "" {
			config[f.option] = "n"
		}
	}
	return config
}

// parseFeatures decides from the kernel's configuration, the loaded modules, and the lists of modules that come with a
// kernel. The kernel in use is what counts: a module it should have may have gone with an update of its package.
func parseFeatures(config map[string]string, loaded, builtin, loadable string) map[string]Support {
	found := map[string]Support{}
	for _, f := range features {
		inTree := f.module != "" && hasModule(loadable, f.module)
		switch {
		case config[f.option] == "y", f.module != "" && (isLoaded(loaded, f.module) || hasModule(builtin, f.module)):
			found[f.option] = Built
		case inTree:
			found[f.option] = Module
		case config[f.option] == "n", config[f.option] == "m":
			found[f.option] = Absent
		case f.module != "" && loadable != "":
			found[f.option] = Absent
		}
	}
	return found
}

// hasModule looks for a module's file in modules.dep or modules.builtin: "kernel/net/bridge/bridge.ko.xz: …".
func hasModule(list, name string) bool {
	for line := range strings.Lines(list) {
		file, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		base, _, _ := strings.Cut(filepath.Base(file), ".ko")
		if strings.ReplaceAll(base, "-", "_") == name {
			return true
		}
	}
	return false
}

// isLoaded looks for a module in /proc/modules: "bridge 344064 1 br_netfilter, Live …".
func isLoaded(list, name string) bool {
	for line := range strings.Lines(list) {
		if first, _, _ := strings.Cut(line, " "); first == name {
			return true
		}
	}
	return false
}

func ownNamespaces() []string {
	entries, err := os.ReadDir("/proc/self/ns")
	if err != nil {
		return nil
	}
	var kinds []string
	for _, e := range entries {
		kinds = append(kinds, e.Name())
	}
	return kinds
}

// capabilityNumbers are those of the table in judge_system.go.
var capabilityNumbers = map[string]int{
	"SYS_ADMIN": unix.CAP_SYS_ADMIN, "NET_ADMIN": unix.CAP_NET_ADMIN, "CHOWN": unix.CAP_CHOWN, "DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE,
	"FOWNER": unix.CAP_FOWNER, "KILL": unix.CAP_KILL, "SYS_PTRACE": unix.CAP_SYS_PTRACE, "SYS_RESOURCE": unix.CAP_SYS_RESOURCE,
	"NET_RAW": unix.CAP_NET_RAW, "MKNOD": unix.CAP_MKNOD,
}

// readCgroup looks at how cgroups are mounted and whether they can be written.
func readCgroup() Cgroup {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Cgroup{}
	}
	defer func() { _ = f.Close() }()
	mounts, err := mountinfo.GetMountsFromReader(f, mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return Cgroup{}
	}
	var views []cgroupMount
	for _, m := range mounts {
		v := cgroupMount{v2: m.FSType == "cgroup2", options: strings.Split(m.VFSOptions, ","), readOnly: slices.Contains(strings.Split(m.Options, ","), "ro")}
		if v.v2 {
			v.controllers = strings.Fields(read(filepath.Join(m.Mountpoint, "cgroup.controllers")))
		}
		views = append(views, v)
	}
	return parseCgroup(views, read("/proc/cgroups"))
}

// A cgroupMount is one mounted hierarchy.
type cgroupMount struct {
	v2, readOnly bool
	options      []string // of v1: the controllers are among them
	controllers  []string // of v2
}

// parseCgroup puts together hierarchies and the kernel's list of controllers ("name hierarchy groups enabled").
func parseCgroup(mounts []cgroupMount, list string) Cgroup {
	var g Cgroup
	var known []string
	for line := range strings.Lines(list) {
		words := strings.Fields(line)
		if len(words) != 4 || strings.HasPrefix(line, "#") {
			continue
		}
		known = append(known, words[0])
		if words[3] == "0" {
			g.Disabled = append(g.Disabled, words[0])
		}
	}
	v1, v2 := false, false
	for _, m := range mounts {
		if m.v2 {
			v2 = true
			g.Controllers = append(g.Controllers, m.controllers...)
		} else {
			for _, option := range m.options {
				if slices.Contains(known, option) {
					v1 = true
					g.Controllers = append(g.Controllers, option)
				}
			}
		}
		g.ReadOnly = g.ReadOnly || m.readOnly
	}
	switch {
	case v1 && v2:
		g.Version = "hybrid"
	case v1:
		g.Version = "v1"
	case v2:
		g.Version = "v2"
	}
	slices.Sort(g.Controllers)
	g.Controllers = slices.Compact(g.Controllers)
	return g
}
