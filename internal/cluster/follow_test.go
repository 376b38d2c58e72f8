package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bosun-project/bosun/internal/cluster"
)

func TestFollowPods(t *testing.T) {
	for _, old := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newAPIServer(t)
			s.old = old
			s.put("pods", podNamed("b", "1"))
			elsewhere := podNamed("c", "2")
			elsewhere.Spec.NodeName = "n2"
			s.put("pods", elsewhere)
			heard := followPods(s)
			l := heard.names("b")
			if l.Err != nil || l.Since.IsZero() {
				t.Errorf("the listing says %v since %v", l.Err, l.Since)
			}
			if l.Objects[0].ManagedFields != nil {
				t.Error("managedFields are kept")
			}
			if len(heard.all) != 1 {
				t.Errorf("before there was a listing, %d were told", len(heard.all)-1)
			}
			s.put("pods", podNamed("a", "3"))
			heard.names("a", "b")
			s.remove("pods", "default/b")
			heard.names("a")
			if !slices.Equal(names(l), []string{"b"}) {
				t.Errorf("an older listing changed: %v", names(l))
			}
		})
	}
}

func names[T metav1.Object](l cluster.Listing[T]) (out []string) {
	for _, o := range l.Objects {
		out = append(out, o.GetName())
	}
	return out
}

func TestFollowTellsOfNothingThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		heard := following(t, func(ctx context.Context, tell func(cluster.Listing[*corev1.ConfigMap])) {
			s.client().FollowConfigMap(ctx, "default", "late", tell)
		})
		l := heard.names()
		if _, there := l.Only(); there {
			t.Error("there is an object before it exists")
		}
		other := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "other"}}
		s.put("configmaps", other)
		s.put("configmaps", &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "late"}, Data: map[string]string{"k": "v"}})
		if o, _ := heard.names("late").Only(); o.Data["k"] != "v" {
			t.Errorf("got %v", o)
		}
	})
}

func TestWatchThatEndsIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.put("pods", podNamed("a", "1"))
		heard := followPods(s)
		heard.names("a")
		time.Sleep(1100 * time.Millisecond) // a watch that lived
		s.asked()
		s.endWatches()
		s.put("pods", podNamed("b", "2"))
		heard.names("a", "b")
		if asked := s.asked(); !slices.Equal(asked, []string{"WATCH pods"}) {
			t.Errorf("after a watch that ended as usual it asked %v, want only one watch", asked)
		}
		for _, l := range heard.all {
			if l.Err != nil {
				t.Errorf("the end of a watch was told as trouble: %v", l.Err)
			}
		}
	})
}

func TestWatchesThatEndAtOnceArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.fail(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("watch") == "" {
				return false
			}
			s.stream(w, r)
			return true
		})
		followPods(s)
		time.Sleep(time.Second)
		if n := len(s.asked()); n > 15 {
			t.Errorf("%d requests in a second", n)
		}
	})
}

func TestHistoryIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.put("pods", podNamed("a", "1"))
		s.put("pods", podNamed("b", "1"))
		heard := followPods(s)
		heard.names("a", "b")
		s.put("pods", podNamed("c", "1"))
		heard.names("a", "b", "c")
		// Gone while nobody watches: the watch is refused within its stream, and what was missed must come with the next list.
		s.mu.Lock()
		delete(s.objects["pods"], "default/a")
		s.mu.Unlock()
		s.forget()
		s.endWatches()
		heard.names("b", "c")
		for _, l := range heard.all {
			if l.Err != nil {
				t.Errorf("a lost history was told as trouble: %v", l.Err)
			}
		}
	})
}

func TestHistoryIsGoneByStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.put("pods", podNamed("a", "1"))
		heard := followPods(s)
		heard.names("a")
		s.fail(s.reply(apierrors.NewResourceExpired("too old"), func(r *http.Request) bool { return r.URL.Query().Get("resourceVersion") > "0" }))
		s.endWatches()
		s.put("pods", podNamed("b", "1"))
		heard.names("a", "b")
	})
}

func TestPageIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.old, s.page = true, 2
		for i := range 5 {
			s.put("pods", podNamed(fmt.Sprint("p", i), "1"))
		}
		var refused atomic.Int32
		s.fail(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("continue") != "4" || refused.Add(1) > 1 {
				return false
			}
			s.status(w, r, apierrors.NewResourceExpired("the continue token is too old"))
			return true
		})
		followPods(s).names("p0", "p1", "p2", "p3", "p4")
		if refused.Load() == 0 {
			t.Error("no page was refused")
		}
	})
}

func TestServerRestoredFromBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.put("pods", podNamed("a", "1"))
		heard := followPods(s)
		heard.names("a")
		s.rewind()
		s.mu.Lock()
		delete(s.objects["pods"], "default/a")
		s.mu.Unlock()
		s.put("pods", podNamed("b", "1"))
		s.net.cut()
		s.fail(s.reply(tooLarge(), func(r *http.Request) bool { return r.URL.Query().Get("resourceVersion") > "100" }))
		heard.names("b")
	})
}

// The real one accepts a watch that goes on from a version that is yet to come, and is silent until then.
func TestServerRestoredFromBackupAcceptsWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.put("pods", podNamed("a", "1"))
		heard := followPods(s)
		heard.names("a")
		time.Sleep(5 * time.Second) // after a watch that lived shortly the Reflector starts over by itself
		s.fail(s.reply(apierrors.NewServiceUnavailable("restoring"), nil))
		s.endWatches()
		s.rewind()
		s.mu.Lock()
		delete(s.objects["pods"], "default/a")
		s.mu.Unlock()
		s.put("pods", podNamed("b", "1"))
		time.Sleep(5 * time.Second)
		s.fail(nil)
		back := time.Now()
		heard.names("b")
		s.put("pods", podNamed("c", "1"))
		heard.names("b", "c")
		if took := time.Since(back); took > 20*time.Second { // nobody else asks the API server here
			t.Errorf("the other past became known after %v", took)
		}
	})
}

func tooLarge() *apierrors.StatusError {
	e := apierrors.NewTimeoutError("Too large resource version: 102, current: 51", 1)
	e.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
	return e
}

func TestBadFirstListings(t *testing.T) {
	for name, bad := range map[string]func(http.ResponseWriter, func(string, runtime.Object)){
		"a mark without a version that does not say that the list is whole": func(_ http.ResponseWriter, send func(string, runtime.Object)) {
			send("BOOKMARK", &corev1.Pod{})
		},
		"a mark of another kind":   func(_ http.ResponseWriter, send func(string, runtime.Object)) { send("BOOKMARK", &corev1.Node{}) },
		"an unknown kind of event": func(_ http.ResponseWriter, send func(string, runtime.Object)) { send("SURPRISE", podNamed("a", "1")) },
		"an unknown kind of object": func(_ http.ResponseWriter, send func(string, runtime.Object)) {
			send("ADDED", &corev1.PersistentVolume{})
		},
		"not an event": func(w http.ResponseWriter, _ func(string, runtime.Object)) {
			_, _ = w.Write([]byte("\x00\x00\x00\x04oops"))
		},
		"the end of a name": func(w http.ResponseWriter, _ func(string, runtime.Object)) {
			_, _ = w.Write([]byte("\x00\x00\x00\x40oops"))
		},
		"nothing more": func(http.ResponseWriter, func(string, runtime.Object)) {},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newAPIServer(t)
			s.put("pods", podNamed("a", "1"))
			var tries atomic.Int32
			s.fail(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Query().Get("sendInitialEvents") == "" || tries.Add(1) > 1 {
					return false
				}
				send := s.stream(w, r)
				send("ADDED", podNamed("ghost", "1"))
				bad(w, send)
				return true
			})
			heard := followPods(s)
			heard.names("a")
			s.put("pods", podNamed("b", "1"))
			heard.names("a", "b")
			for _, l := range heard.all {
				if slices.Contains(names(l), "ghost") {
					t.Errorf("%s: a list that was not whole was taken", name)
				}
			}
		})
	}
}

func TestRecreatedBetweenEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.put("pods", podNamed("a", "old"))
		heard := followPods(s)
		heard.names("a")
		s.remove("pods", "default/a")
		s.put("pods", podNamed("a", "new"))
		heard.until("the new pod", func(l cluster.Listing[*corev1.Pod]) bool { p, ok := l.Only(); return ok && p.UID == "new" })
		// The same while nobody watches and the history is lost.
		s.mu.Lock()
		delete(s.objects["pods"], "default/a")
		s.mu.Unlock()
		s.put("pods", podNamed("a", "newer"))
		s.forget()
		s.endWatches()
		heard.until("the newest pod", func(l cluster.Listing[*corev1.Pod]) bool { p, ok := l.Only(); return ok && p.UID == "newer" })
	})
}

func TestSlowReaderSkips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		c := s.client()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		release, calls, busy := make(chan struct{}), atomic.Int32{}, atomic.Int32{}
		done := make(chan []string, 1)
		go c.FollowPods(ctx, func(l cluster.Listing[*corev1.Pod]) {
			if busy.Add(1) != 1 {
				t.Error("tell was called twice at once")
			}
			defer busy.Add(-1)
			if calls.Add(1); len(l.Objects) > 0 {
				<-release
			}
			if len(l.Objects) == 300 {
				select {
				case done <- names(l):
				default:
				}
			}
		})
		for i := range 300 {
			s.put("pods", podNamed(fmt.Sprintf("p%03d", i), "1"))
		}
		time.Sleep(300 * time.Millisecond)
		close(release)
		select {
		case got := <-done:
			if !slices.IsSorted(got) {
				t.Error("the pods are not in order")
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the newest listing was never told")
		}
		if n := calls.Load(); n > 200 {
			t.Errorf("a reader that was busy was told %d times", n)
		}
	})
}

func TestJSONAndUnknownFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.fail(func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			if r.URL.Query().Get("watch") == "" {
				fmt.Fprint(w, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"default"},"spec":{"newThing":{"x":1},"nodeName":"n1"},"future":true}`)
				return true
			}
			fmt.Fprintln(w, `{"type":"ADDED","object":{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"default","resourceVersion":"5"},"spec":{"newThing":[1]},"future":{}}}`)
			fmt.Fprintln(w, `{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"6","annotations":{"k8s.io/initial-events-end":"true"}}}}`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		})
		followPods(s).names("a")
		p, err := s.client().GetPod(t.Context(), "default", "a")
		if err != nil || p.Spec.NodeName != "n1" {
			t.Errorf("got %v, %v", p, err)
		}
	})
}

func TestFollowTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		c := s.client()
		meta := metav1.ObjectMeta{Name: "x"}
		s.put("nodes", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
		s.put("nodes", &corev1.Node{ObjectMeta: meta})
		s.put("services", &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "x"}})
		s.put("runtimeclasses", &nodev1.RuntimeClass{ObjectMeta: meta})
		s.put("certificatesigningrequests", &certificatesv1.CertificateSigningRequest{ObjectMeta: meta})
		s.put("certificatesigningrequests", &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "y"}})
		s.put("clustertrustbundles", &certificatesv1.ClusterTrustBundle{ObjectMeta: meta})
		following(t, c.FollowClusterTrustBundles).names("x")
		following(t, c.FollowNode).names("n1")
		following(t, c.FollowServices).names("x")
		following(t, c.FollowRuntimeClasses).names("x")
		following(t, func(ctx context.Context, tell func(cluster.Listing[*certificatesv1.CertificateSigningRequest])) {
			c.FollowCSR(ctx, "x", tell)
		}).names("x")
	})
}
