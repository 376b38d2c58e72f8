package stats

import (
	"bytes"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/usage"
)

// sector is the unit of /proc/diskstats, in bytes, whatever the disk's own is.
const sector = 512

// diskstats reads /proc/diskstats. Disks in memory and in files are left out.
func diskstats(text []byte) (disks []usage.Disk) {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) < 14 || bytes.HasPrefix(words[2], []byte("loop")) || bytes.HasPrefix(words[2], []byte("ram")) {
			continue
		}
		major, minor := number(words[0]), number(words[1])
		const most = 1<<32 - 1
		if !major.Known || !minor.Known || major.Value > most || minor.Value > most {
			continue
		}
		n := func(i int) usage.Number { return number(words[i]) }
		disks = append(disks, usage.Disk{
			Major: uint32(major.Value), Minor: uint32(minor.Value), Device: "/dev/" + strings.ReplaceAll(string(words[2]), "!", "/"),
			Reads: n(3), ReadsMerged: n(4), ReadSectors: n(5), ReadBytes: times(n(5), sector), ReadTime: n(6),
			Writes: n(7), WritesMerged: n(8), WriteSectors: n(9), WriteBytes: times(n(9), sector), WriteTime: n(10),
			InFlight: n(11), IOTime: n(12), Weighted: n(13),
		})
	}
	return disks
}

// mounts are the file systems on the machine's own disks, each once.
func (r *reading) mounts() (found []usage.Filesystem) {
	all, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return !strings.HasPrefix(m.Source, "/dev/"), false })
	if err != nil {
		r.files.missed++
		return nil
	}
	seen := map[[2]int]bool{}
	for _, m := range all {
		on := [2]int{m.Major, m.Minor}
		if seen[on] {
			continue
		}
		if f := r.statfs(m.Mountpoint); f != nil {
			seen[on] = true
			f.Device = m.Source
			found = append(found, *f)
		}
	}
	return found
}

// deviceOf names the device that the file system of a directory is on; empty if it has none.
func (r *reading) deviceOf(dir string) string {
	var s unix.Stat_t
	if unix.Stat(dir, &s) != nil {
		return ""
	}
	return r.devices[[2]uint32{unix.Major(s.Dev), unix.Minor(s.Dev)}]
}
