package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Somebody deletes the Node object: the node registers again, with an event, and its pods do not notice.
func TestNodeObjectDeleted(t *testing.T) {
	t.Parallel()
	m := ownMember(t)
	before := m.untilReady(t)
	g := m.create(t, m.plane.Namespace(t), "on-deleted-node", plain)
	g.untilReady()
	container := g.containerID("main")
	began := time.Now()
	if err := m.api.CoreV1().Nodes().Delete(t.Context(), m.name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	var after *v1.Node
	eventually(t, func() (err error) {
		if after, err = m.api.CoreV1().Nodes().Get(t.Context(), m.name, metav1.GetOptions{}); err == nil && after.UID == before.UID {
			err = fmt.Errorf("it is the same object")
		}
		return err
	})
	after = m.untilReady(t)
	took(t, "deleted until registered again and ready", began, 5*time.Second)
	eventually(t, func() error {
		lease, err := m.api.CoordinationV1().Leases(v1.NamespaceNodeLease).Get(t.Context(), m.name, metav1.GetOptions{})
		if err == nil && (len(lease.OwnerReferences) != 1 || lease.OwnerReferences[0].UID != after.UID) {
			err = fmt.Errorf("the lease belongs to %v", lease.OwnerReferences)
		}
		return err
	})
	eventually(t, func() error {
		list, err := m.api.CoreV1().Events(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=Node,involvedObject.name=" + m.name})
		if err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Reason == "NodeRegisteredAgain" && e.Type == v1.EventTypeWarning {
				return nil
			}
		}
		return fmt.Errorf("there is no event of it")
	})
	m.create(t, g.ns, "on-node-again", plain).untilReady()
	same(t, "container of the pod that was there", g.containerID("main"), container)
	if p, err := g.now(); err != nil || !isReady(p) {
		t.Errorf("the pod that was there is not ready any more: %v", err)
	}
}

// again makes a pod as soon as the API server takes one of its name, and sees it off only if the test does not.
func (m *member) again(t *testing.T, ns, name, spec string) *guest {
	t.Helper()
	p := parsePod(t, m.text(name, spec))
	p.Spec.NodeName = m.name
	var made *v1.Pod
	eventually(t, func() (err error) {
		made, err = m.api.CoreV1().Pods(ns).Create(t.Context(), p, metav1.CreateOptions{})
		return err
	})
	return &guest{member: m, t: t, ns: ns, name: name, uid: string(made.UID)}
}

// force deletes the pod from the API at once, whatever the node still has of it.
func (g *guest) force() {
	g.t.Helper()
	err := g.api.CoreV1().Pods(g.ns).Delete(context.Background(), g.name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(g.uid)})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		g.t.Fatal(err)
	}
}

// alone tells what is wrong unless all that the node has of the name is the pod's: one sandbox and one running container.
func (g *guest) alone() error {
	sandboxes, err := g.sandboxesOf(g.name)
	if err != nil {
		return err
	}
	containers, err := g.containersOf(g.name)
	if err != nil {
		return err
	}
	if len(sandboxes) != 1 || len(containers) != 1 || sandboxes[0].Metadata.Uid != g.uid || containers[0].State != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return fmt.Errorf("of pod %s (%s) there are sandboxes %v and containers %v", g.name, g.uid, sandboxes, containers)
	}
	return nil
}

// A pod is deleted and made again under the same name, again and again, in order and by force: each comes to run, nothing
// stays of those before, and the API server has each one's own status.
func TestSameNameRecreated(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	for how, remove := range map[string]func(*guest){"in-order": (*guest).remove, "by-force": (*guest).force} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			name := "again-" + how
			var all []*guest
			var longest time.Duration
			for i := range 6 {
				began := time.Now()
				g := m.again(t, ns, name, "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX, args: [say, "+fmt.Sprint("number-", i)+", then, wait]}]}")
				all = append(all, g)
				if i%2 == 0 { // else in the middle of its start
					g.untilReady()
					longest = max(longest, time.Since(began))
				}
				if i < 5 {
					remove(g)
				}
			}
			last := all[len(all)-1]
			p := last.untilReady()
			same(t, "UID", string(p.UID), last.uid)
			last.untilSays("main", "number-5")
			eventually(t, last.alone)
			for _, g := range all[:len(all)-1] {
				eventually(t, func() error {
					if left := m.remains(g.uid); left != "" {
						return fmt.Errorf("left: %s", left)
					}
					return nil
				})
			}
			t.Logf("made until ready, at most: %v", longest)
			last.remove()
			last.untilGone()
		})
	}
}

// Many pods are bound to the node at once. BOSUN_TEST_PODS says how many; without it there are as many as a busy machine with two
// cores can take within the test's time.
func TestManyPodsAtOnce(t *testing.T) { // not in parallel: it measures time
	count := 100
	if text := os.Getenv("BOSUN_TEST_PODS"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	m := ownMember(t, "--max-pods="+strconv.Itoa(count+10))
	ns := m.plane.Namespace(t)
	p := parsePod(t, m.text("x", "spec: {terminationGracePeriodSeconds: 1, hostNetwork: true, automountServiceAccountToken: false, containers: [{name: main, image: BOX}]}"))
	p.Spec.NodeName = m.name
	began := time.Now()
	var making sync.WaitGroup
	var next atomic.Int32
	for range 20 {
		making.Go(func() {
			for i := next.Add(1); i <= int32(count); i = next.Add(1) {
				one := p.DeepCopy()
				one.Name = fmt.Sprint("many-", i)
				if _, err := m.api.CoreV1().Pods(ns).Create(t.Context(), one, metav1.CreateOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	making.Wait()
	t.Logf("%d pods made: %v", count, time.Since(began))
	ready := func(want int) func() error {
		return func() error {
			list, err := m.api.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{ResourceVersion: "0"})
			if err != nil {
				return err
			}
			n := 0
			for i := range list.Items {
				if isReady(&list.Items[i]) {
					n++
				}
			}
			if n != want || len(list.Items) != want {
				return fmt.Errorf("%d of %d pods are ready, want %d", n, len(list.Items), want)
			}
			return nil
		}
	}
	within(t, 4*time.Minute, ready(count))
	d := time.Since(began)
	t.Logf("%d pods ready: %v, %v each", count, d, d/time.Duration(count))
	asked, lines := m.requestsSince(t, began)
	t.Logf("%d requests, %.1f for each pod", asked, float64(asked)/float64(count))
	if asked > 12*count {
		t.Errorf("%d requests for %d pods:\n%s", asked, count, lines)
	}
	began = time.Now()
	if err := m.api.CoreV1().Pods(ns).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	within(t, 4*time.Minute, ready(0))
	t.Logf("%d pods gone: %v", count, time.Since(began))
	eventually(t, func() error {
		list, err := m.runtime.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{})
		if err == nil && len(list.Items) > 0 {
			err = fmt.Errorf("%d sandboxes are left", len(list.Items))
		}
		return err
	})
}

// A pod is deleted while a registry does not answer: nothing keeps it, and the registry is left alone.
func TestHangingPullOfADeletedPod(t *testing.T) {
	t.Parallel()
	m := ownMember(t)
	hang, left := make(chan struct{}), make(chan struct{}, 100)
	t.Cleanup(func() { close(hang) })
	registry := m.bed.StartRegistry(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
				left <- struct{}{}
			case <-hang:
			}
		})
	})
	g := m.create(t, m.plane.Namespace(t), "hanging-pull", "spec: {terminationGracePeriodSeconds: 20, containers: [{name: first, image: BOX}, {name: main, image: \""+registry.Host+"/a/b:v1\"}]}")
	m.untilLogged(t, "hanging-pull", "Pulling image")
	g.until("waiting for the image alone", func(p *v1.Pod) bool {
		return len(p.Status.ContainerStatuses) == 2 && p.Status.ContainerStatuses[0].State.Running != nil
	})
	began := time.Now()
	g.remove()
	g.untilGone()
	took(t, "deleted until gone", began, 5*time.Second)
	select {
	case <-left:
	case <-time.After(patience):
		t.Error("the registry is still asked for the image")
	}
}
