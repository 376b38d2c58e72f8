package machine_test

import (
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/machine"
)

func TestReadDescribesThisMachine(t *testing.T) {
	m, err := machine.Read()
	if err != nil {
		t.Fatal(err)
	}
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		t.Fatal(err)
	}
	// The kernel rounds MemTotal down to KiB.
	if total := uint64(s.Totalram) * uint64(s.Unit); m.MemoryCapacity == 0 || m.MemoryCapacity > total || total-m.MemoryCapacity > 1<<20 {
		t.Errorf("memory %d, the kernel says %d", m.MemoryCapacity, total)
	}
	if m.NumCores < 1 || m.NumCores < runtime.NumCPU() {
		t.Errorf("%d cores, this process alone may use %d", m.NumCores, runtime.NumCPU())
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	if m.BootID != strings.TrimSpace(string(boot)) {
		t.Errorf("boot ID %q, want %q", m.BootID, boot)
	}
	cores := 0
	for _, node := range m.Topology {
		for _, core := range node.Cores {
			cores += len(core.Threads)
		}
	}
	if cores != m.NumCores {
		t.Errorf("the topology has %d threads, the machine %d", cores, m.NumCores)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{`"num_cores"`, `"memory_capacity"`, `"machine_id"`, `"topology"`, `"filesystems"`} {
		if !strings.Contains(string(text), field) {
			t.Errorf("JSON without %s: %.200s", field, text)
		}
	}
}
