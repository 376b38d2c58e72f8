package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// After a reboot pods of files and of the API are there again: in new sandboxes, initialised anew, each container counted, with
// what was in their emptyDirs on disk; a pod that never restarts has failed. The node says that it was rebooted (behaviours 48,
// 61, 346, 358).
func TestReboot(t *testing.T) {
	t.Parallel()
	m := quietMember(t, controlplane.Shared(t), "")
	m.boot = m.path(t, "boot_id")
	setBoot := func(id string) {
		if err := os.WriteFile(m.boot, []byte(id+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	setBoot("first-boot")
	m.start(t)
	same(t, "boot ID", m.untilReady(t).Status.NodeInfo.BootID, "first-boot")
	ns := m.plane.Namespace(t)
	spec := func(policy string) string {
		return `
spec:
  restartPolicy: ` + policy + `
  volumes: [{name: disk, emptyDir: {}}, {name: mem, emptyDir: {medium: Memory}}]
  initContainers: [{name: init, image: BOX, args: [append, /disk/log, init], volumeMounts: [{name: disk, mountPath: /disk}]}]
  containers:
  - {name: main, image: BOX, args: [append, /disk/log, main, then, append, /mem/log, main, then, wait],
     volumeMounts: [{name: disk, mountPath: /disk}, {name: mem, mountPath: /mem}], readinessProbe: {exec: {command: [/testbox, stat, /mem/log]}, periodSeconds: 1}}
`
	}
	static := m.pod(t, "static", spec("Always"))
	mirrored := &guest{member: m, t: t, ns: "default", name: "static-" + m.name}
	pods := map[string]*guest{"of the API": m.create(t, ns, "kept", spec("Always")), "of a file": mirrored}
	never := m.create(t, ns, "never", spec("Never"))
	never.untilReady()
	before := map[string]*v1.Pod{}
	for what, g := range pods {
		eventually(t, func() error { _, err := g.now(); return err })
		before[what] = g.untilReady()
	}

	m.kill(t)
	if err := m.bed.PowerOff(); err != nil {
		t.Fatal(err)
	}
	setBoot("second-boot")
	if err := m.bed.Restart(); err != nil {
		t.Fatal(err)
	}
	m.start(t)

	for what, g := range pods {
		p := g.until("ready after the reboot", func(p *v1.Pod) bool {
			s := apiStatus(p, "main")
			return isReady(p) && s.State.Running != nil && s.ContainerID != apiStatus(before[what], "main").ContainerID
		})
		same(t, "UID of the pod "+what, p.UID, before[what].UID)
		same(t, "start of the pod "+what, p.Status.StartTime.Time, before[what].Status.StartTime.Time)
		for _, name := range []string{"init", "main"} {
			same(t, "restarts of "+name+" of the pod "+what, apiStatus(p, name).RestartCount, 1)
		}
		if last := apiStatus(p, "main").LastTerminationState.Terminated; last == nil || last.ContainerID != apiStatus(before[what], "main").ContainerID {
			t.Errorf("the attempt before of the pod %s: %+v", what, last)
		}
		uid := p.Annotations["kubernetes.io/config.hash"] // of a static pod
		if uid == "" {
			uid = string(p.UID)
		}
		volumes := filepath.Join(m.root, "pods", uid, "volumes/kubernetes.io~empty-dir")
		same(t, "on disk of the pod "+what, words(holds(t, filepath.Join(volumes, "disk/log"))), "init main init main")
		same(t, "in memory of the pod "+what, words(holds(t, filepath.Join(volumes, "mem/log"))), "main")
	}
	if p := never.untilPhase(v1.PodFailed); apiStatus(p, "main").RestartCount != 0 {
		t.Errorf("a pod that never restarts did: %+v", apiStatus(p, "main"))
	}
	same(t, "boot ID", m.untilReady(t).Status.NodeInfo.BootID, "second-boot")
	eventually(t, func() error {
		return containsAll(m.kubectl(t, "default", "get", "events", "-o", "jsonpath={range .items[*]}{.reason}: {.message}\n{end}"),
			"Rebooted: Node "+m.name+" has been rebooted, boot id: second-boot", "SandboxChanged: Pod sandbox changed, it will be killed and re-created.")
	})
	eventually(t, func() error {
		all, err := static.sandboxesOf(mirrored.name)
		if err == nil && (len(all) == 0 || all[0].Metadata.Attempt != 1) {
			err = fmt.Errorf("sandboxes of the static pod: %v", all)
		}
		return err
	})
}

// words is a text with its white space made one space each.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }
