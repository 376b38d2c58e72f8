package stats

import (
	"testing"

	"github.com/bosun-project/bosun/internal/usage"
)

// FuzzParse: files of the kernel are well known, but what a container runtime, a sandboxed kernel or a container's file system shows
// in their place is not.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"some avg10=0.01 avg60=2.86 avg300=3.22 total=9904450273\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n", "8:0 Read 4096\n8:0 Write 1\nTotal 4097\n",
		"full avg10=-1 total=9300000000000000\n", "nr_periods 1\nthrottled_usec 18446744073709551615\n", "eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
		"MemTotal: 1 kB\nHugePages_Total: 2\nHugepagesize: 18446744073709551615 kB\n", "0.20 0.18 0.12 1/80 11206\n",
		"eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n", " 254 0 vda 1 2 3 4 5 6 7 8 9 10 11\n", "4:memory:/a\n2:cpu,cpuacct:/a\n0::/a\n", "Max open files 1 2 files\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if p := pressure(text); p != nil && (p.Some.Avg10 < 0 || p.Full.Total < 0 || p.Some.Total < 0) {
			t.Errorf("pressure %+v", p)
		}
		for _, d := range append(ioStat(text), diskstats(text)...) {
			if d.Device == "/dev/" {
				t.Errorf("disk %+v", d)
			}
		}
		blkio(nil, text, func(d *usage.Disk) (read, write *usage.Number) { return &d.Reads, &d.Writes })
		var c usage.CPU
		keyed(text, throttling(&c, micro))
		faces := interfaces(text)
		if main := mainInterface(faces, defaultRoute(text)); main >= len(faces) {
			t.Errorf("interface %d of %d", main, len(faces))
		}
		meminfo(text)
		tasks(text)
		bootTime(text)
		openFiles(text)
		for _, h := range []hierarchies{{unified: "/x"}, {v1: map[string]string{"memory": "/m"}}} {
			if path := h.ownPath(text); path == "/" {
				t.Errorf("the top is nobody's own")
			}
		}
	})
}
