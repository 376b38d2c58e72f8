package integration

import (
	"strings"
	"testing"
)

// A pod with a user namespace of its own: root inside is nobody outside, volumes look as they should, and /proc may be
// unmasked (behaviours 52, 99, 100).
func TestUserNamespace(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	b := n.pod(t, "userns", `
spec:
  hostUsers: false
  volumes: [{name: data, emptyDir: {}}]
  containers:
  - {name: main, image: BOX, args: [id, then, cat, /proc/self/uid_map, then, cat, /proc/self/gid_map, then, write, /data/f, x, then, stat, /data/f, then, stat, /proc/interrupts, then, say, end, then, wait],
     securityContext: {procMount: Unmasked}, volumeMounts: [{name: data, mountPath: /data}]}
`)
	said := b.untilSays("main", "end\n")
	maps := 0
	for l := range strings.Lines(said) {
		if f := strings.Fields(l); len(f) == 3 && f[0] == "0" && f[2] == "65536" {
			maps++
			if f[1] == "0" {
				t.Errorf("root inside is root outside: %s", l)
			}
		}
	}
	same(t, "maps of 65536 ids", maps, 2)
	for _, want := range []string{"uid=0 gid=0", "/data/f mode=-rw-r--r-- uid=0 gid=0", "/proc/interrupts mode=-r--r--r--"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in the output:\n%s", want, said)
		}
	}
}
