package integration

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/keep"
	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// gone takes the API server away from the node: what is under way breaks, and nothing new gets through. It returns what
// brings it back.
func gone(x *controlplane.Proxy) (back func()) {
	back = x.Inject(controlplane.Fault{Cut: true})
	x.CutConnections()
	return back
}

// attempt waits until the pod's newest instance of a container runs and is this one, or a later one.
func (g *guest) attempt(container string, least uint32) *runtimeapi.Container {
	g.t.Helper()
	var found *runtimeapi.Container
	eventually(g.t, func() error {
		all, err := g.containersOf(g.name)
		if err != nil {
			return err
		}
		for _, c := range all {
			if c.Metadata.Name == container && c.Labels["io.kubernetes.pod.uid"] == g.uid && c.Metadata.Attempt >= least && c.State == runtimeapi.ContainerState_CONTAINER_RUNNING {
				found = c
				return nil
			}
		}
		return fmt.Errorf("container %s of pod %s has not come to attempt %d: %v", container, g.name, least, all)
	})
	return found
}

// The API server is away, and the agent is killed and started meanwhile: pods run on, are probed and started again, with what
// they are made from. What was done to pods in the API meanwhile, and to the node, is made up for at once when it is back,
// and with few requests.
func TestAPIServerGone(t *testing.T) {
	t.Parallel()
	m, x := besieged(t)
	defer x.Heal()
	m.start(t)
	m.untilReady(t)
	ns := m.plane.Namespace(t)
	m.configMap(t, ns, "settings", map[string]string{"word": "kept"})
	m.secret(t, ns, "hidden", map[string][]byte{"word": []byte("hush")})
	out := m.path(t)
	crashing := m.create(t, ns, "gone-crashing", `
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: out, hostPath: {path: `+out+`}}, {name: hidden, secret: {secretName: hidden}}]
  containers:
  - {name: main, image: BOX, args: [append, /out/starts, '$(WORD)', then, stat, /hidden/word, then, await, /out/end, then, append, /out/ends, x, then, exit, '1'],
     env: [{name: WORD, valueFrom: {configMapKeyRef: {name: settings, key: word}}}], volumeMounts: [{name: out, mountPath: /out}, {name: hidden, mountPath: /hidden}]}
`)
	probed := m.create(t, ns, "gone-probed", `
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: BOX, args: [http, ":8080"], livenessProbe: {httpGet: {path: /live, port: 8080}, periodSeconds: 1, failureThreshold: 1}}]
`)
	steady, deleted, forced := m.create(t, ns, "gone-steady", plain), m.create(t, ns, "gone-deleted", plain), m.create(t, ns, "gone-forced", plain)
	failed := m.create(t, ns, "gone-failed", plain)
	var ip string
	for _, g := range []*guest{crashing, probed, steady, deleted, forced, failed} {
		if p := g.untilReady(); g == probed {
			ip = p.Status.PodIP
		}
	}
	container := steady.containerID("main")

	back := gone(x)
	m.untilLogged(t, "node's lease failed")
	m.restart(t)
	touch(t, out+"/end")
	untilHolds(t, out+"/ends", "x\n")
	if err := os.Remove(out + "/end"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	crashing.attempt("main", 1)
	took(t, "a crash until started again, the agent started anew and the API server away", began, 15*time.Second)
	untilHolds(t, out+"/starts", "kept\nkept\n")
	resp, err := http.Get("http://" + ip + ":8080/fail")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	probed.attempt("main", 1)
	m.kill(t)
	deleted.remove()
	forced.force()
	p, err := failed.now()
	if err != nil {
		t.Fatal(err)
	}
	p.Status.Phase = v1.PodFailed
	p.Status.Reason = "TakenAway"
	if _, err := m.api.CoreV1().Pods(ns).UpdateStatus(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	bound := m.create(t, ns, "gone-bound", plain)
	m.start(t)
	m.awakeWithout(t)
	for _, g := range []*guest{steady, deleted, forced, failed} {
		g.attempt("main", 0) // nobody could know
	}

	back()
	began = time.Now()
	bound.untilReady()
	took(t, "back until a pod is ready that came meanwhile", began, 20*time.Second)
	deleted.untilGone()
	forced.untilGone()
	took(t, "back until what was deleted is gone", began, 20*time.Second)
	for _, g := range []*guest{crashing, probed} {
		g.until("told as restarted", func(p *v1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount >= 1 && isReady(p) })
	}
	eventually(t, func() error {
		all, err := m.containersOf("gone-failed")
		if err == nil && (len(all) > 0 && all[0].State == runtimeapi.ContainerState_CONTAINER_RUNNING) {
			err = fmt.Errorf("the pod that is over in the API runs still")
		}
		return err
	})
	took(t, "back until all is told", began, 20*time.Second)
	if p, err := failed.now(); err != nil || p.Status.Phase != v1.PodFailed {
		t.Errorf("the pod that was over in the API has phase %v (%v)", p.Status.Phase, err)
	}
	same(t, "container of the pod that was left alone", steady.containerID("main"), container)
	asked, lines := m.requestsSince(t, began)
	t.Logf("%d requests since the API server is back:\n%s", asked, lines)
	if asked > 100 {
		t.Errorf("%d requests for 7 pods", asked)
	}
}

// awakeWithout waits until the agent does its work without an API server: it runs a static pod that is new to it. That ends
// when the API server is back, if not with the test.
func (m *member) awakeWithout(t *testing.T) {
	t.Helper()
	b := m.static(t, fmt.Sprint("awake-", len(m.said())))
	b.write(m.text(b.name, plain))
	b.untilRunning("main")
	b.remove()
}

// reboot does to the node what a reboot of the machine does: the agent and all containers end at once, mounts and what was in
// memory are gone, and what is on disk stays.
func (m *member) reboot(t *testing.T) {
	t.Helper()
	m.kill(t)
	list, err := m.runtime.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Items {
		containers, err := m.runtime.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{PodSandboxId: s.Id}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range containers.Containers {
			if _, err := m.runtime.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: c.Id}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := m.runtime.StopPodSandbox(t.Context(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.Id}); err != nil {
			t.Fatal(err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if at := strings.Fields(line)[4]; strings.HasPrefix(at, m.root+"/") {
			if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
				t.Fatalf("unmount %s: %v", at, err)
			}
		}
	}
	if dir, ok := keep.InMemory(m.root); ok {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// The machine reboots while the API server cannot be reached. With --offline-restart, pods accepted before run again, with the
// ConfigMaps and Secrets they use, kept in files that only root can read; without it nothing runs until the API server is
// back. Then what was deleted meanwhile ends.
func TestRebootWithoutAPIServer(t *testing.T) {
	t.Parallel()
	for kind, offline := range map[string]bool{"offline": true, "default": false} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m, x := besieged(t)
			defer x.Heal()
			if offline {
				m.set("offline-restart", "true")
			}
			m.start(t)
			m.untilReady(t)
			ns := m.plane.Namespace(t)
			m.configMap(t, ns, "settings", map[string]string{"word": "kept"})
			m.secret(t, ns, "hidden", map[string][]byte{"word": []byte("hush-hush")})
			out := m.path(t)
			g := m.create(t, ns, "returning-"+kind, `
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: out, hostPath: {path: `+out+`}}, {name: settings, configMap: {name: settings}}, {name: hidden, secret: {secretName: hidden}}]
  containers:
  - {name: main, image: BOX, args: [append, /out/starts, '$(WORD) $(HIDDEN)', then, stat, /settings/word, then, stat, /hidden/word, then, wait],
     env: [{name: WORD, valueFrom: {configMapKeyRef: {name: settings, key: word}}}, {name: HIDDEN, valueFrom: {secretKeyRef: {name: hidden, key: word}}}],
     volumeMounts: [{name: out, mountPath: /out}, {name: settings, mountPath: /settings}, {name: hidden, mountPath: /hidden}]}
`)
			deleted := m.create(t, ns, "rebooted-deleted-"+kind, plain)
			over := m.create(t, ns, "rebooted-over-"+kind, "spec: {restartPolicy: Never, containers: [{name: main, image: BOX, args: [exit, \"0\"]}]}")
			g.untilReady()
			deleted.untilReady()
			over.until("over", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodSucceeded })
			back := gone(x)
			m.reboot(t)
			deleted.remove()
			began := time.Now()
			m.start(t)
			if offline {
				g.attempt("main", 0)
				took(t, "start without an API server until a pod of before runs", began, 15*time.Second)
				untilHolds(t, out+"/starts", "kept hush-hush\nkept hush-hush\n")
				deleted.attempt("main", 0)
				onlyRootReads(t, filepath.Join(m.root, "kept"))
				if _, err := os.Stat(filepath.Join(m.root, "pods", g.uid, "volumes/kubernetes.io~secret/hidden/word")); err != nil {
					t.Error(err)
				}
				if strings.Contains(m.said(), "hush-hush") {
					t.Error("the Secret is in the log")
				}
			} else {
				m.awakeWithout(t)
				for _, g := range []*guest{g, deleted} {
					if all, err := m.containersOf(g.name); err != nil || len(all) > 0 && all[0].State == runtimeapi.ContainerState_CONTAINER_RUNNING {
						t.Errorf("pod %s runs while nobody can say whether it should: %v (%v)", g.name, all, err)
					}
				}
				if left, err := filepath.Glob(filepath.Join(m.root, "kept", "*")); err != nil || len(left) > 0 {
					t.Errorf("on disk there is %v (%v)", left, err)
				}
			}
			back()
			began = time.Now()
			g.until("ready and told of its new container", func(p *v1.Pod) bool {
				all, err := m.containersOf(g.name)
				return isReady(p) && err == nil && len(all) > 0 && all[0].State == runtimeapi.ContainerState_CONTAINER_RUNNING && strings.HasSuffix(p.Status.ContainerStatuses[0].ContainerID, all[0].Id)
			})
			took(t, "back until the pod is ready", began, 20*time.Second)
			deleted.untilGone()
			took(t, "back until what was deleted is gone", began, 20*time.Second)
			untilHolds(t, out+"/starts", "kept hush-hush\nkept hush-hush\n")
			if p, err := over.now(); err != nil || p.Status.Phase != v1.PodSucceeded {
				t.Errorf("the pod that was over before has phase %v (%v)", p.Status.Phase, err)
			}
			if all, err := m.containersOf(over.name); err != nil || len(all) > 1 {
				t.Errorf("the pod that was over before has run again: %v (%v)", all, err)
			}
		})
	}
}

// onlyRootReads fails the test unless a directory and all files in it are closed to others, and there are some.
func onlyRootReads(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() {
			files++
		}
		if s := info.Sys().(*syscall.Stat_t); info.Mode().Perm()&0o077 != 0 || s.Uid != 0 {
			t.Errorf("%s has mode %v and owner %d", path, info.Mode(), s.Uid)
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Errorf("%s has %d files (%v)", dir, files, err)
	}
}

// static is a static pod of the member, which the test itself sees off.
func (m *member) static(t *testing.T, name string) *box {
	return &box{node: m.node, t: t, name: name, file: filepath.Join(m.manifests, name+".yaml")}
}

// The manifests of static pods change while the agent is down and the API server away: it may be one of these pods. The new
// version takes the place of the old one, and never do two versions run at one time; what has no manifest any more ends when
// the API server is back.
func TestStaticPodsWithoutAPIServer(t *testing.T) {
	t.Parallel()
	m, x := besieged(t)
	defer x.Heal()
	edited, removed, api := m.static(t, "edited"), m.static(t, "removed"), m.static(t, "api")
	spec := func(word string) string {
		return "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX, args: [say, " + word + ", then, wait]}]}"
	}
	edited.write(m.text("edited", spec("one")))
	removed.write(m.text("removed", spec("one")))
	m.start(t)
	m.untilReady(t)
	first := edited.untilRunning("main")
	removed.untilRunning("main")
	ns := m.plane.Namespace(t)
	g := m.create(t, ns, "beside-static", plain)
	g.untilReady()
	container := g.containerID("main")
	back := gone(x)
	m.kill(t)
	edited.write(m.text("edited", spec("two")))
	removed.remove()
	began := time.Now()
	m.start(t)
	api.write(m.text("api", spec("one")))
	api.untilRunning("main")
	edited.until("main", "new", renewed(first))
	took(t, "start without an API server until the new version of a static pod runs", began, 20*time.Second)
	if err := neverTwice(m.history.of(edited.full())); err != nil {
		t.Error(err)
	}
	same(t, "container of a pod of the API", g.containerID("main"), container)
	back()
	removed.awaitGone() // not before every source has spoken (behaviour 6)
	eventually(t, func() error {
		list, err := m.api.CoreV1().Pods(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + m.name})
		if err != nil {
			return err
		}
		names := map[string]bool{}
		for i := range list.Items {
			if isReady(&list.Items[i]) {
				names[list.Items[i].Name] = true
			}
		}
		if len(list.Items) != 2 || !names["edited-"+m.name] || !names["api-"+m.name] {
			err = fmt.Errorf("static pods that the API server knows as ready: %v, of %d", names, len(list.Items))
		}
		return err
	})
	same(t, "container of a pod of the API", g.containerID("main"), container)
	edited.remove()
	api.remove()
	edited.awaitGone()
	api.awaitGone()
}
