package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/testbed"
)

// What other tools find a pod's parts by (behaviours 9, 49, 50, 59, 60, 62, 336).
func TestNamesLabelsAndLogs(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	b := n.manifest(t, "naming", `
apiVersion: v1
kind: Pod
metadata:
  name: naming
  namespace: team
  labels: {app: shop, tier: front}
  annotations: {example.com/owner: jane}
spec:
  terminationGracePeriodSeconds: 7
  containers:
  - {name: main, image: BOX, args: [say, hello, then, wait], ports: [{name: web, containerPort: 8080}], terminationMessagePolicy: FallbackToLogsOnError, lifecycle: {preStop: {sleep: {seconds: 0}}}}
`)
	c := b.untilRunning("main")
	b.untilSays("main", "hello\n")
	s := b.sandbox()
	uid := s.Metadata.Uid

	same(t, "sandbox name", s.Metadata.Name, "naming-here")
	same(t, "sandbox namespace", s.Metadata.Namespace, "team")
	same(t, "sandbox attempt", s.Metadata.Attempt, uint32(0))
	has(t, "sandbox labels", s.Labels, map[string]string{
		"app": "shop", "tier": "front", names.PodName: "naming-here", names.PodNamespace: "team", names.PodUID: uid,
	})
	has(t, "sandbox annotations", s.Annotations, map[string]string{"example.com/owner": "jane", names.ConfigSource: "file", names.ConfigHash: uid})
	if s.Annotations[names.ConfigSeen] == "" {
		t.Errorf("sandbox has no annotation %s", names.ConfigSeen)
	}

	same(t, "container name", c.Metadata.Name, "main")
	same(t, "container attempt", c.Metadata.Attempt, uint32(0))
	has(t, "container labels", c.Labels, map[string]string{
		names.ContainerName: "main", names.PodName: "naming-here", names.PodNamespace: "team", names.PodUID: uid,
	})
	has(t, "container annotations", c.Annotations, map[string]string{
		names.ContainerHash:             names.HashContainer(&v1.Container{Name: "main", Image: testbed.Testbox}),
		names.ContainerRestartCount:     "0",
		names.TerminationMessagePath:    "/dev/termination-log",
		names.TerminationMessagePolicy:  "FallbackToLogsOnError",
		names.PodTerminationGracePeriod: "7",
	})
	for annotation, part := range map[string]string{names.PreStopHandler: `"sleep"`, names.ContainerPorts: `"containerPort":8080`} {
		if got := c.Annotations[annotation]; !strings.Contains(got, part) {
			t.Errorf("annotation %s is %q, want %s in it", annotation, got, part)
		}
	}

	dir := filepath.Join(n.podLogs, "team_naming-here_"+uid)
	log := filepath.Join(dir, "main", "0.log")
	same(t, "log path", c.LogPath, log)
	for _, d := range []string{dir, filepath.Dir(log)} {
		if info, err := os.Stat(d); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("log directory %s: %v %v, want mode 0755", d, info, err)
		}
	}
	eventually(t, func() error { // it is made when the container has started
		target, err := os.Readlink(filepath.Join(names.ContainerLogLinksDir, "naming-here_team_main-"+c.Id+".log"))
		if err == nil && target != log {
			t.Errorf("link to the log: %q, want %s", target, log)
		}
		return err
	})
}

// Same manifest text, same UID; another text, another pod (behaviour 8, 59).
func TestEditReplacesThePod(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	text := func(word string) string {
		return "spec: {containers: [{name: main, image: BOX, args: [say, " + word + ", then, wait]}]}"
	}
	b := n.pod(t, "edited", text("one"))
	first := b.untilRunning("main")
	b.write(n.text("edited", text("one")+" # a comment changes nothing"))
	b.write(n.text("edited", text("two")))
	second := b.until("main", "new", renewed(first))
	if first.Labels[names.PodUID] == second.Labels[names.PodUID] {
		t.Error("the edited pod has the UID of the old one")
	}
	same(t, "attempt of the new pod", second.Metadata.Attempt, uint32(0))
	eventually(t, func() error { return alone(b) })
}
