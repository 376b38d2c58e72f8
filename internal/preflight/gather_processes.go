package preflight

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// missingCapabilities lists those of the table that are not in effect, by /proc/self/status.
func missingCapabilities(status string) []string {
	for line := range strings.Lines(status) {
		text, found := strings.CutPrefix(line, "CapEff:")
		if !found {
			continue
		}
		have, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
		if err != nil {
			return nil
		}
		var missing []string
		for _, c := range capabilities {
			if have&(1<<capabilityNumbers[c.name]) == 0 {
				missing = append(missing, c.name)
			}
		}
		return missing
	}
	return nil
}

// listeners finds who listens on the ports that matter.
func listeners(ports []Port) []Listener {
	wanted := map[uint16]bool{}
	for _, p := range ports {
		if p.Number != 0 {
			wanted[p.Number] = true
		}
	}
	var found []socket
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		found = append(found, parseSockets(read(file), wanted)...)
	}
	if len(found) == 0 {
		return nil
	}
	owners := socketOwners(found)
	var list []Listener
	for _, s := range found {
		list = append(list, Listener{s.address, s.port, owners[s.inode]})
	}
	return list
}

// A socket is one that listens.
type socket struct {
	address netip.Addr
	port    uint16
	inode   string
}

// parseSockets reads /proc/net/tcp or tcp6 and keeps sockets that listen on a wanted port.
func parseSockets(table string, wanted map[uint16]bool) []socket {
	const listening = "0A"
	var found []socket
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) < 10 || words[3] != listening {
			continue
		}
		address, port, err := parseAddress(words[1])
		if err != nil || !wanted[port] {
			continue
		}
		found = append(found, socket{address, port, words[9]})
	}
	return found
}

// parseAddress reads "0100007F:1F90": words of 32 bits in the machine's byte order, which is little endian on all machines
// Bosun runs on.
func parseAddress(text string) (netip.Addr, uint16, error) {
	host, port, ok := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	if !ok || err != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.Addr{}, 0, fmt.Errorf("socket address %q: want hexadecimal ADDRESS:PORT", text)
	}
	for word := range slices.Chunk(raw, 4) {
		slices.Reverse(word)
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("socket address %q: port: %w", text, err)
	}
	address, _ := netip.AddrFromSlice(raw)
	return address, uint16(number), nil
}

// socketOwners looks through the open files of all processes for the sockets.
func socketOwners(sockets []socket) map[string]Process {
	names := map[string]string{}
	for _, s := range sockets {
		names["socket:["+s.inode+"]"] = s.inode
	}
	owners := map[string]Process{}
	for _, pid := range pids() {
		dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			target, err := os.Readlink(filepath.Join(dir, e.Name()))
			if inode, ok := names[target]; err == nil && ok {
				owners[inode] = Process{pid, nameOf(pid)}
			}
		}
		if len(owners) == len(names) {
			break
		}
	}
	return owners
}

func pids() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

func nameOf(pid int) string {
	return strings.TrimSpace(read(filepath.Join("/proc", strconv.Itoa(pid), "comm")))
}

// kubelets finds running kubelets.
func kubelets() []Process {
	var found []Process
	for _, pid := range pids() {
		if nameOf(pid) == "kubelet" {
			found = append(found, Process{pid, "kubelet"})
		}
	}
	return found
}

// lockHolder finds who holds the lock file. It does not open the file: an agent with --exit-on-lock-contention takes that
// as a wish that it should go.
func lockHolder(file string) Process {
	var node unix.Stat_t
	if file == "" || unix.Stat(file, &node) != nil {
		return Process{}
	}
	pid := parseLocks(read("/proc/locks"), uint64(node.Dev), node.Ino)
	if pid <= 0 || pid == os.Getpid() {
		return Process{}
	}
	return Process{pid, nameOf(pid)}
}

// parseLocks finds the process with a lock on a file: "1: FLOCK  ADVISORY  WRITE 4440 fe:00:9980801 0 EOF". Lines of those
// who wait have "->" after the number.
func parseLocks(table string, device, inode uint64) int {
	id := fmt.Sprintf("%02x:%02x:%d", unix.Major(device), unix.Minor(device), inode)
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) < 6 || words[5] != id {
			continue
		}
		if pid, err := strconv.Atoi(words[4]); err == nil {
			return pid
		}
	}
	return 0
}

// parseSwaps reads /proc/swaps, whose sizes are KiB.
func parseSwaps(table string) []Swap {
	var found []Swap
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] == "Filename" {
			continue
		}
		kib, err := strconv.ParseUint(words[2], 10, 64)
		if err != nil {
			continue
		}
		found = append(found, Swap{Name: words[0], Bytes: kib << 10})
	}
	return found
}

// parseServers reads the nameserver lines of a resolv.conf.
func parseServers(text string) []netip.Addr {
	var found []netip.Addr
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if address, err := netip.ParseAddr(words[1]); err == nil {
			found = append(found, address)
		}
	}
	return found
}
