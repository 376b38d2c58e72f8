package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/testbed"
)

// Processors of one's own (behaviours 90, 218, 232, 234): a guaranteed pod has one, all others keep off it, nothing of that depends on the agent's
// life or on what the policy says later, and when the pod has ended the others have it again.
func TestProcessors(t *testing.T) {
	t.Parallel()
	if runtime.NumCPU() < 2 {
		t.Skip("this machine has one processor, which nobody can have alone")
	}
	n := quietNode(t, testbed.Options{})
	plain := holds(t, n.configFile())
	configure := func(lines string) {
		if err := os.WriteFile(n.configFile(), []byte(plain+lines), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	configure("cpuManagerPolicy: static\nkubeReserved: {cpu: 500m}\ncpuManagerReconcilePeriod: 1s\n")
	n.start(t)
	shares := n.pod(t, "shares", "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX, args: [wait], resources: {requests: {cpu: 10m}}}]}")
	first := shares.untilRunning("main").Id
	sharing := shares.processors("burstable", first)
	all := settled(t, sharing, "all", func(s allocate.CPUs) bool { return s.Len() == runtime.NumCPU() })

	owns := n.pod(t, "owns", `
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: BOX, args: [wait], resources: {limits: {cpu: 1, memory: 32Mi}}}
  - {name: part, image: BOX, args: [wait], resources: {limits: {cpu: 10m, memory: 32Mi}}}
`)
	main, part := owns.untilRunning("main").Id, owns.untilRunning("part").Id
	owning := owns.processors("", main)
	own := settled(t, owning, "one of its own", func(s allocate.CPUs) bool { return s.Len() == 1 && !s.Has(0) })
	rest := all.Without(own)
	others := func(s allocate.CPUs) bool { return s.Equal(rest) }
	settled(t, sharing, "the rest", others)
	settled(t, owns.processors("", part), "the rest", others)
	pod := filepath.Join(n.cgroups, "kubepods", "pod"+owns.uid())
	for cgroup, quota := range map[string]string{filepath.Join(pod, main): "-1", pod: "-1", filepath.Join(pod, part): "1000"} {
		if got, err := os.ReadFile(cgroupFile(cgroup, "cpu/cpu.cfs_quota_us")); err == nil {
			same(t, "quota of "+cgroup, strings.TrimSpace(string(got)), quota)
		}
	}
	eventually(t, func() error {
		var told struct {
			PolicyName, DefaultCPUSet string
			Entries                   map[string]map[string]string
		}
		if err := json.Unmarshal([]byte(holds(t, filepath.Join(n.root, allocate.CPUFile))), &told); err != nil {
			return err
		}
		if told.PolicyName != "static" || told.DefaultCPUSet != rest.String() || told.Entries[owns.uid()]["main"] != own.String() {
			return fmt.Errorf("%s says %+v", allocate.CPUFile, told)
		}
		return nil
	})

	unchanged := func(when string) {
		t.Helper()
		same(t, "the container that shares, "+when, shares.untilRunning("main").Id, first)
		same(t, "the container that owns, "+when, owns.untilRunning("main").Id, main)
		settled(t, owning, "the same one "+when, func(s allocate.CPUs) bool { return s.Equal(own) })
		settled(t, sharing, "the rest "+when, others)
	}
	n.restart(t)
	unchanged("after a crash of the agent")
	if err := os.WriteFile(shares.cpuset("burstable", first), []byte(all.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	settled(t, sharing, "the rest, whatever somebody else wrote", others)

	n.kill(t)
	configure("") // a migration, which takes nothing away and is no reason not to start
	n.start(t)
	unchanged("under another policy")
	late := n.pod(t, "late", "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX, args: [wait]}]}")
	settled(t, late.processors("besteffort", late.untilRunning("main").Id), "the rest", others)
	owns.remove()
	owns.awaitGone()
	settled(t, sharing, "all, since the owner has gone", func(s allocate.CPUs) bool { return s.Equal(all) })
}

// cpuset is the file with the processors of a container. class is the directory of the pod's class.
func (b *box) cpuset(class, id string) string {
	return cgroupFile(filepath.Join(b.cgroups, "kubepods", class, "pod"+b.uid(), id), "cpuset/cpuset.cpus")
}

// processors reads the processors of a container as the kernel has them.
func (b *box) processors(class, id string) func() (allocate.CPUs, error) {
	file := b.cpuset(class, id)
	if _, err := os.Stat(file); err != nil { // cgroup v2
		file = strings.Replace(file, "/cpuset/", "/", 1)
	}
	return func() (allocate.CPUs, error) {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		return allocate.ParseCPUs(string(text))
	}
}

// settled waits until a container has the processors it is to have.
func settled(t *testing.T, read func() (allocate.CPUs, error), what string, good func(allocate.CPUs) bool) (got allocate.CPUs) {
	t.Helper()
	eventually(t, func() error {
		var err error
		if got, err = read(); err == nil && !good(got) {
			err = fmt.Errorf("it runs on processors %s, and was to have %s", got, what)
		}
		return err
	})
	return got
}
