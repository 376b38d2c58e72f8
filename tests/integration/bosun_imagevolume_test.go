package integration

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/testbed"
)

// The files of an image, and a part of them, are in a container, read-only; a restart of the container or of the agent asks no registry
// again, and an image that somebody removes is got again (behaviour 189).
func TestImageVolume(t *testing.T) {
	t.Parallel()
	n := ownNode(t, testbed.Options{Images: []string{"testbox", "busybox"}})
	var asked atomic.Int32
	registry := n.bed.StartRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/manifests/v1") {
				asked.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	})
	ref, err := registry.Push("nginx", "site", "v1")
	if err != nil {
		t.Fatal(err)
	}
	// Each container ends when it is told to, once: a second end would be followed by a pause.
	command := func(name string) string {
		return "[sh, -c, 'grep -c root /site/etc/passwd; ls /part; touch /site/x 2>&1; touch /part/x 2>&1; echo looked; " +
			"while [ ! -e /signal/" + name + " ]; do sleep 0.1; done; rm /signal/" + name + "']"
	}
	spec := "\nspec:\n  terminationGracePeriodSeconds: 1\n  volumes:\n  - {name: site, image: {reference: '" + ref + "', pullPolicy: Always}}\n" +
		"  - {name: signal, hostPath: {path: '" + n.path(t) + "'}}\n  containers:\n"
	for _, name := range []string{"one", "two", "three"} {
		spec += "  - {name: " + name + ", image: SHELL, command: " + command(name) + ", volumeMounts: [" +
			"{name: site, mountPath: /site}, {name: site, mountPath: /part, subPath: var/www/html}, {name: signal, mountPath: /signal}]}\n"
	}
	b := n.pod(t, "image-volume", spec)
	said := b.untilSays("three", "looked")
	contains(t, "what the container sees", said, "1", "index.html")
	if strings.Count(said, "Read-only file system") != 2 {
		t.Errorf("want the image and its part to be read-only:\n%s", said)
	}
	n.untilLogged(t, "reason=Pulling", "image-volume-here", ref)
	n.untilLogged(t, "reason=Pulled", "image-volume-here", "Successfully pulled image", ref)
	same(t, "times the tag was looked up", asked.Load(), 1)

	again := func(container string) *runtimeapi.ContainerStatus {
		t.Helper()
		before := b.untilRunning(container)
		touch(t, n.path(t, container))
		return b.until(container, "to run again", renewed(before))
	}
	again("one")
	n.restart(t)
	second := again("two")
	same(t, "times the tag was looked up after restarts of a container and of the agent", asked.Load(), 1)
	image := ""
	for _, m := range second.Mounts {
		if m.ContainerPath == "/site" {
			image = m.Image.GetImage()
		}
	}
	if !strings.HasPrefix(image, "sha256:") {
		t.Fatalf("the runtime was told to mount image %q, want its ID", image)
	}
	if _, err := n.images.RemoveImage(t.Context(), &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: image}}); err != nil {
		t.Fatal(err)
	}
	again("three")
	same(t, "times the tag was looked up after the image was removed", asked.Load(), 2)
	eventually(t, func() error {
		return n.numbers("/metrics", "kubelet_image_volume_mounted_succeed_total 2", "kubelet_image_volume_mounted_errors_total 1")
	})
}

// A volume whose image cannot be had shows as an image that cannot be had: on the container that mounts it, and only there. It starts
// when the image comes.
func TestImageVolumeThatCannotBeHad(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	var open atomic.Bool
	registry := n.bed.StartRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPut && r.Method != http.MethodPost && r.Method != http.MethodPatch && strings.Contains(r.URL.Path, "/late/manifests") && !open.Load() {
				http.NotFound(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	ref, err := registry.Push("nginx", "late", "v1")
	if err != nil {
		t.Fatal(err)
	}
	pod := func(name, policy string) *box {
		return n.pod(t, name, `
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: site, image: {reference: '`+ref+`', pullPolicy: `+policy+`}}]
  containers:
  - {name: plain, image: BOX}
  - {name: mounts, image: BOX, args: [cat, /site/etc/passwd, then, wait], volumeMounts: [{name: site, mountPath: /site}]}
`)
	}
	never, b := pod("image-volume-never", "Never"), pod("image-volume-late", "IfNotPresent")
	waits := func(reasons ...string) func(*v1.Pod) bool {
		return func(p *v1.Pod) bool {
			c := apiStatus(p, "mounts")
			for _, r := range reasons {
				if c != nil && c.State.Waiting != nil && c.State.Waiting.Reason == r {
					return p.Status.Phase == v1.PodPending
				}
			}
			return false
		}
	}
	b.untilRunning("plain")
	p := b.untilAPI("to say that the image cannot be had", waits("ErrImagePull", "ImagePullBackOff"))
	if c := apiStatus(p, "mounts"); !strings.Contains(c.State.Waiting.Message, ref) {
		t.Errorf("it waits with %q, want the name of the image", c.State.Waiting.Message)
	}
	never.untilAPI("to say that the image may not be pulled", waits("ErrImageNeverPull"))
	n.untilLogged(t, "reason=Failed", "image-volume-late-here", "Failed to pull image", ref)
	open.Store(true)
	b.untilSays("mounts", "root:")
	never.untilSays("mounts", "root:")
}
