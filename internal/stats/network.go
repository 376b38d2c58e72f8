package stats

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bosun-project/bosun/internal/usage"
)

// network reads the interfaces that a process sees, which are those of its network namespace; nil if it sees none.
func (r *reading) network(pid string) *usage.Network {
	dir := filepath.Join(r.cfg.Proc, pid, "net")
	n := &usage.Network{At: r.now(), Links: interfaces(r.files.read(filepath.Join(dir, "dev")))}
	if len(n.Links) == 0 {
		return nil
	}
	n.Main = mainInterface(n.Links, defaultRoute(r.files.read(filepath.Join(dir, "route"))))
	return n
}

// interfaces reads /proc/net/dev. Loopback is left out, and so are the node's ends of the pods' own interfaces, which come
// and go with them.
func interfaces(text []byte) (found []usage.Link) {
	for line := range bytes.Lines(text) {
		name, counts, ok := bytes.Cut(line, []byte{':'})
		words := bytes.Fields(counts)
		if !ok || len(words) < 12 {
			continue
		}
		i := usage.Link{Name: string(bytes.TrimSpace(name))}
		if i.Name == "lo" || strings.HasPrefix(i.Name, "veth") {
			continue
		}
		for at, to := range map[int]*uint64{
			0: &i.RxBytes, 1: &i.RxPackets, 2: &i.RxErrors, 3: &i.RxDrops, 8: &i.TxBytes, 9: &i.TxPackets, 10: &i.TxErrors, 11: &i.TxDrops,
		} {
			*to = number(words[at]).Value
		}
		found = append(found, i)
	}
	return found
}

// defaultRoute names the interface of the default route in /proc/net/route; empty if there is none.
func defaultRoute(text []byte) string {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		const needed, up = 8, 1
		if len(words) < needed || string(words[1]) != "00000000" || string(words[7]) != "00000000" {
			continue
		}
		if flags, err := strconv.ParseUint(string(words[3]), 16, 32); err == nil && flags&up != 0 {
			return string(words[0])
		}
	}
	return ""
}

// mainInterface picks the one that leads out: that of the default route, or else eth0, which it is called in most pods.
func mainInterface(all []usage.Link, route string) int {
	for _, name := range []string{route, "eth0"} {
		for i := range all {
			if all[i].Name == name {
				return i
			}
		}
	}
	return -1
}
