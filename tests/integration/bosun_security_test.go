package integration

import (
	"strings"
	"testing"
)

// Users and groups as the process has them (behaviours 53, 91, 93, 94, 186).
func TestUsersAndGroups(t *testing.T) {
	t.Parallel()
	b := sharedNode(t).pod(t, "users", `
spec:
  restartPolicy: Never
  securityContext: {runAsUser: 1000, runAsGroup: 3000, fsGroup: 2000, supplementalGroups: [4000]}
  volumes: [{name: data, emptyDir: {}}]
  containers:
  - {name: pod, image: BOX, args: [id, then, stat, /data, then, write, /data/f, x, then, stat, /data/f], volumeMounts: [{name: data, mountPath: /data}]}
  - {name: own, image: BOX, args: [id], securityContext: {runAsUser: 1001}}
`)
	said := b.untilDone("pod")
	for _, want := range []string{"uid=1000 gid=3000 groups=[", "/data mode=dgrwxrwxrwx uid=0 gid=2000", "/data/f mode=-rw-r--r-- uid=1000 gid=2000"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in the output:\n%s", want, said)
		}
	}
	for _, group := range []string{"2000", "4000"} {
		if !strings.Contains(line(said, "uid="), group) {
			t.Errorf("not in group %s: %s", group, line(said, "uid="))
		}
	}
	if said := b.untilDone("own"); !strings.Contains(said, "uid=1001 gid=3000") {
		t.Errorf("the container's own user does not hold:\n%s", said)
	}
}

// runAsNonRoot refuses an image that runs as root (behaviours 64, 92).
func TestRunAsNonRoot(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	b := n.pod(t, "nonroot", `
spec:
  containers:
  - {name: main, image: BOX, securityContext: {runAsNonRoot: true}}
  - {name: other, image: BOX, securityContext: {runAsNonRoot: true, runAsUser: 7}}
`)
	n.untilLogged(t, "nonroot-here", "container has runAsNonRoot and image will run as root")
	b.untilRunning("other") // one that fails does not hold up the next (behaviour 58)
	if c, err := b.instance("main"); err != nil || c != nil {
		t.Errorf("container main: %v %v, want none", c, err)
	}
}

// Capabilities, privileges and seccomp as the kernel shows them (behaviours 95, 97, 98, 102).
func TestPrivileges(t *testing.T) {
	t.Parallel()
	b := sharedNode(t).pod(t, "privileges", `
spec:
  restartPolicy: Never
  containers:
  - {name: plain, image: BOX, args: [id]}
  - {name: less, image: BOX, args: [id], securityContext: {allowPrivilegeEscalation: false, seccompProfile: {type: RuntimeDefault}, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}}
  - {name: more, image: BOX, args: [id], securityContext: {capabilities: {add: [SYS_PTRACE], drop: [CHOWN]}, seccompProfile: {type: Unconfined}}}
  - {name: all, image: BOX, args: [id], securityContext: {privileged: true}}
`)
	const chown, bind, ptrace, sysAdmin = 0, 10, 19, 21
	for _, test := range []struct {
		container           string
		noNewPrivs, seccomp string
		with, without       []uint
	}{
		{"plain", "0", "0", []uint{chown, bind}, []uint{ptrace, sysAdmin}},
		{"less", "1", "2", []uint{bind}, []uint{chown, ptrace, sysAdmin}},
		{"more", "0", "0", []uint{bind, ptrace}, []uint{chown, sysAdmin}},
		{"all", "0", "0", []uint{chown, bind}, nil},
	} {
		said := b.untilDone(test.container)
		contains(t, test.container, said, "NoNewPrivs: "+test.noNewPrivs, "Seccomp: "+test.seccomp)
		caps := capabilities(t, said)
		for _, c := range test.with {
			if caps&(1<<c) == 0 {
				t.Errorf("container %s lacks capability %d:\n%s", test.container, c, said)
			}
		}
		for _, c := range test.without {
			if caps&(1<<c) != 0 {
				t.Errorf("container %s has capability %d:\n%s", test.container, c, said)
			}
		}
	}
}

func capabilities(t *testing.T, said string) uint64 {
	t.Helper()
	var caps uint64
	for _, c := range strings.TrimPrefix(line(said, "CapBnd:"), "CapBnd: ") {
		digit := strings.IndexRune("0123456789abcdef", c)
		if digit < 0 {
			t.Fatalf("no capabilities in:\n%s", said)
		}
		caps = caps<<4 | uint64(digit)
	}
	return caps
}

// A read-only root, masked and read-only parts of /proc (behaviour 99).
func TestReadOnlyRootAndMaskedProc(t *testing.T) {
	t.Parallel()
	b := sharedNode(t).pod(t, "readonly", `
spec:
  restartPolicy: Never
  containers:
  - {name: root, image: BOX, args: [write, /file, x], securityContext: {readOnlyRootFilesystem: true}}
  - {name: proc, image: BOX, args: [stat, /proc/interrupts, then, stat, /sys/firmware, then, write, /proc/sys/kernel/domainname, x]}
`)
	for container, want := range map[string]string{"root": "read-only file system", "proc": "read-only file system"} {
		c := b.untilExited(container)
		same(t, container+"'s exit code", c.ExitCode, int32(125))
		b.untilSays(container, want)
	}
	if said := b.output("proc", 0); !strings.Contains(said, "/proc/interrupts mode=Dc") || !strings.Contains(said, "/sys/firmware mode=d") {
		t.Errorf("/proc/interrupts and /sys/firmware are not masked:\n%s", said)
	}
}

// Sysctls of the pod, with either separator (behaviour 53).
func TestSysctls(t *testing.T) {
	t.Parallel()
	b := sharedNode(t).pod(t, "sysctls", `
spec:
  restartPolicy: Never
  securityContext: {sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: "77"}, {name: kernel/shm_rmid_forced, value: "1"}]}
  containers: [{name: main, image: BOX, args: [cat, /proc/sys/net/ipv4/ip_unprivileged_port_start, then, cat, /proc/sys/kernel/shm_rmid_forced]}]
`)
	same(t, "output", b.untilDone("main"), "77\n1\n")
}
