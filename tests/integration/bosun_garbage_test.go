package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/collect"
	"github.com/bosun-project/bosun/internal/testbed"
)

// On a disk that is fuller than the configuration allows images go that nobody uses, and only those: not what a pod is about to use,
// nor what a container was made from, nor what the runtime needs itself. What is still too full is told (behaviours 167, 169, 294).
func TestImageGarbage(t *testing.T) {
	t.Parallel()
	n := quietNode(t, testbed.Options{Images: []string{"testbox", "busybox", "nginx"}})
	var fs unix.Statfs_t
	if err := unix.Statfs(n.bed.Dir, &fs); err != nil {
		t.Fatal(err)
	}
	full, err := collect.Disk{Capacity: int64(fs.Blocks) * fs.Bsize, Available: int64(fs.Bavail) * fs.Bsize}.Percent()
	if err != nil {
		t.Fatal(err)
	}
	// Others use this disk, too: it may be somewhat less full when the agent looks.
	high := max(full-10, 1)
	config := strings.Replace(holds(t, n.configFile()), "imageGCHighThresholdPercent: 100\n",
		fmt.Sprintf("imageMinimumGCAge: 0s\nimageGCHighThresholdPercent: %d\nimageGCLowThresholdPercent: %d\n", high, high-1), 1)
	if err := os.WriteFile(n.configFile(), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	before := n.imageNames(t)
	for _, name := range []string{testbed.Testbox, testbed.Busybox, testbed.Nginx} {
		if !before[name] {
			t.Fatalf("the bed has not got %s: %v", name, before)
		}
	}
	b := n.pod(t, "stays", "spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, image: BOX}]}")
	n.start(t)
	eventually(t, func() error {
		if now := n.imageNames(t); now[testbed.Busybox] || now[testbed.Nginx] {
			return fmt.Errorf("images nobody uses are still there: %v", now)
		}
		return nil
	})
	b.untilRunning("app")
	after := n.imageNames(t)
	for name := range before {
		if name != testbed.Busybox && name != testbed.Nginx && strings.Contains(name, ":") && !strings.Contains(name, "@") && !after[name] {
			t.Errorf("%s has gone", name)
		}
	}
	n.untilLogged(t, "removed an unused image", testbed.Nginx)
	n.untilLogged(t, "reason=FreeDiskSpaceFailed", "Insufficient free disk space on the node's image filesystem", "Failed to free sufficient space by deleting unused images")
	eventually(t, func() error {
		return n.numbers("/metrics", `kubelet_image_garbage_collected_total{reason="space"} 2`)
	})
}

// As many ended instances of a container stay as the command line says (behaviours 260, 262).
func TestDeadContainersThatStay(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{}, "--maximum-dead-containers-per-container=2", "--maximum-dead-containers=3")
	b := n.pod(t, "crashes", "spec: {terminationGracePeriodSeconds: 1, containers: [{name: app, image: BOX, args: [exit, '3']}]}")
	// It crashes at once, at once again, and after 10 s.
	within(t, 2*patience, func() error {
		all, err := b.containers()
		if err != nil {
			return err
		}
		dead, last := 0, uint32(0)
		for _, c := range all {
			last = max(last, c.Metadata.Attempt)
			if c.State == runtimeapi.ContainerState_CONTAINER_EXITED {
				dead++
			}
		}
		if last < 2 || dead != 2 || len(all) != 2 {
			return fmt.Errorf("%d instances, %d of them ended; the last is #%d", len(all), dead, last)
		}
		return nil
	})
}

// A pod that runs without its cgroup, because another root of cgroups was configured, is made again in it, once (behaviour 364).
func TestPodWithoutItsCgroup(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{})
	b := n.pod(t, "uprooted", "spec: {terminationGracePeriodSeconds: 5, containers: [{name: app, image: BOX, resources: {limits: {memory: 64Mi}}}]}")
	first := b.untilRunning("app")
	old := b.sandbox().Id
	n.kill(t)
	n.cgroups += "/other"
	n.start(t)
	second := b.until("app", "to run again", renewed(first))
	sandbox := b.sandbox().Id
	if sandbox == old {
		t.Error("the pod is in the same sandbox as before")
	}
	n.untilLogged(t, "reason=SandboxChanged", "uprooted-here", "Pod sandbox changed, it will be killed and re-created.")
	if len(cgroupsBelow(t, n.cgroups+"/kubepods/burstable/pod"+b.uid()+"/*"+second.Id+"*")) == 0 {
		t.Error("the new container is not in the pod's cgroup")
	}
	n.restart(t)
	eventually(t, func() error {
		_, text, err := n.get("/debug/pods")
		if err == nil && (!strings.Contains(text, `"effect":"make pod"`) || !strings.Contains(text, second.Id)) {
			err = fmt.Errorf("the agent has not looked after the pod yet:\n%s", text)
		}
		return err
	})
	same(t, "container after another restart", b.untilRunning("app").Id, second.Id)
	same(t, "sandbox after another restart", b.sandbox().Id, sandbox)
}

// cgroupsBelow finds cgroups of either version.
func cgroupsBelow(t *testing.T, pattern string) (found []string) {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup"} {
		dirs, err := filepath.Glob(root + pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, dirs...)
	}
	return found
}

// imageNames are the names of the images that the runtime has.
func (n *node) imageNames(t *testing.T) map[string]bool {
	t.Helper()
	list, err := n.images.ListImages(t.Context(), &runtimeapi.ListImagesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, i := range list.Images {
		for _, name := range i.RepoTags {
			names[name] = true
		}
	}
	return names
}
