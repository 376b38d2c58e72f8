package host

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Facts is what was found. Sizes are in bytes.
type Facts struct {
	// Name is the node's name: lower case, a DNS subdomain (behaviour 284).
	Name string
	// CPUs is the number of processors, Memory and Swap the machine's capacity.
	CPUs   int
	Memory int64
	Swap   int64
	// PIDs is how many processes and threads the kernel allows; 0 if it does not tell.
	PIDs int64
	// HugePages is how many bytes of huge pages there are, by page size.
	HugePages map[int64]int64
	// Throttle holds the thermal_throttle directories that exist; containers must not see them (behaviour 99).
	Throttle []string
	// Kernel is the kernel's release, such as 6.1.0-18-amd64.
	Kernel string
	// AppArmor tells whether it is enabled.
	AppArmor bool
	// SELinux tells whether it is enabled.
	SELinux bool
}

// Read looks at the machine. override is --hostname-override.
func Read(override string) (Facts, error) {
	name, err := nodeName(override)
	if err != nil {
		return Facts{}, err
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return Facts{}, fmt.Errorf("read the size of memory: %w", err)
	}
	var system unix.Utsname
	if err := unix.Uname(&system); err != nil {
		return Facts{}, fmt.Errorf("read the kernel's release: %w", err)
	}
	unit := int64(info.Unit)
	throttle, _ := filepath.Glob("/sys/devices/system/cpu/cpu*/thermal_throttle")
	_, err = os.Stat("/sys/fs/selinux/enforce")
	return Facts{
		Name: name, CPUs: runtime.NumCPU(), Memory: int64(info.Totalram) * unit, Swap: int64(info.Totalswap) * unit,
		PIDs:      mostPIDs("/proc/sys/kernel"),
		HugePages: hugePages("/sys/kernel/mm/hugepages"), Throttle: throttle, SELinux: err == nil, AppArmor: appArmor("/sys/module/apparmor/parameters/enabled"), Kernel: unix.ByteSliceToString(system.Release[:]),
	}, nil
}

// mostPIDs is the least of the kernel's two bounds that can be read.
func mostPIDs(dir string) (most int64) {
	for _, file := range []string{"pid_max", "threads-max"} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && (most == 0 || n < most) {
			most = n
		}
	}
	return most
}

func appArmor(parameter string) bool {
	text, err := os.ReadFile(parameter)
	return err == nil && strings.HasPrefix(string(text), "Y")
}

// AppArmorProfiles are the names of the profiles that the kernel has loaded; nil if its list cannot be read.
func AppArmorProfiles(list string) map[string]bool {
	text, err := os.ReadFile(list)
	if err != nil {
		return nil
	}
	loaded := map[string]bool{}
	for line := range strings.Lines(string(text)) { // "name (enforce)"; names may hold blanks
		if at := strings.LastIndex(line, " ("); at > 0 {
			loaded[line[:at]] = true
		}
	}
	return loaded
}

// Disk is the size in bytes of the file system that holds a directory.
func Disk(dir string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, fmt.Errorf("read the size of the file system of %s: %w", dir, err)
	}
	return int64(fs.Blocks) * fs.Bsize, nil
}

// Space returns how large the file system of a directory is and how much of it others than root may still use, in bytes.
func Space(dir string) (capacity, available int64, err error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return 0, 0, fmt.Errorf("read the use of the file system of %s: %w", dir, err)
	}
	return int64(fs.Blocks) * fs.Bsize, int64(fs.Bavail) * fs.Bsize, nil
}

func nodeName(override string) (string, error) {
	name := override
	if name == "" {
		var err error
		if name, err = os.Hostname(); err != nil {
			return "", fmt.Errorf("read the host's name: %w", err)
		}
	}
	name = strings.ToLower(strings.TrimSpace(name))
	if wrong := validation.IsDNS1123Subdomain(name); len(wrong) > 0 {
		return "", fmt.Errorf("node name %q cannot be used: %s; give another one with --hostname-override", name, strings.Join(wrong, "; "))
	}
	return name, nil
}

func hugePages(dir string) map[int64]int64 {
	out := map[int64]int64{}
	entries, err := os.ReadDir(dir)
	if err != nil { // a kernel without huge pages
		return out
	}
	for _, e := range entries {
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(e.Name(), "hugepages-"), "kB"), 10, 64)
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name(), "nr_hugepages"))
		if err != nil {
			continue
		}
		pages, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil {
			out[kib<<10] = pages * kib << 10
		}
	}
	return out
}
