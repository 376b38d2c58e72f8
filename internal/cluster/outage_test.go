package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/bosun-project/bosun/internal/cluster"
)

func TestRefusedThenAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.put("secrets", &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "s"}})
		s.fail(s.reply(apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "s", fmt.Errorf("no pod of this node uses it")), nil))
		heard := following(t, func(ctx context.Context, tell func(cluster.Listing[*corev1.Secret])) {
			s.client().FollowSecret(ctx, "default", "s", tell)
		})
		l := heard.until("an error", func(l cluster.Listing[*corev1.Secret]) bool { return l.Err != nil })
		if l.Synced || !cluster.Refused(l.Err) || !strings.HasPrefix(l.Err.Error(), "follow secret default/s: ") || !strings.Contains(l.Err.Error(), "no pod of this node uses it") {
			t.Errorf("the listing is %+v", l)
		}
		s.fail(nil)
		began := time.Now()
		if l := heard.names("s"); l.Err != nil {
			t.Errorf("after the error there is still %v", l.Err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v to see the end of a short refusal", took)
		}
	})
}

func TestServerIsAwayAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.put("pods", podNamed("a", "1"))
		c := s.client()
		heard := following(t, c.FollowPods)
		heard.names("a")
		s.fail(func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		})
		s.endWatches()
		l := heard.until("an error", func(l cluster.Listing[*corev1.Pod]) bool { return l.Err != nil })
		if !l.Synced || !slices.Equal(names(l), []string{"a"}) || !cluster.Unreachable(l.Err) {
			t.Errorf("while the server is away the listing is %+v", l)
		}
		time.Sleep(3 * time.Second) // the pauses have grown
		if again := heard.until("an error", func(l cluster.Listing[*corev1.Pod]) bool { return l.Err != nil }); !again.Since.Equal(l.Since) {
			t.Errorf("the same trouble is dated %v and %v", l.Since, again.Since)
		}
		if link := c.Link().Value(); link.Up || link.Err == nil {
			t.Errorf("the link is %+v", link)
		}
		s.put("pods", podNamed("b", "1"))
		s.fail(nil)
		began := time.Now()
		if _, err := c.GetPod(t.Context(), "default", "b"); err != nil { // as a heartbeat would: whoever is first tells the others
			t.Fatal(err)
		}
		heard.names("a", "b")
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("it took %v from the first answer to the news", took)
		}
		if link := c.Link().Value(); !link.Up || link.Err != nil {
			t.Errorf("the link is %+v", link)
		}
	})
}

// TestServerIsBackButNotReady holds that a server that refuses in its first moments, because it does not know yet who may do what, is not
// taken for one that was away for long.
func TestServerIsBackButNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		heard := followPods(s)
		heard.names()
		s.net.setDown(true)
		time.Sleep(10 * time.Minute)
		s.put("pods", podNamed("a", "1"))
		s.fail(s.reply(apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", fmt.Errorf("not yet")), nil))
		s.net.setDown(false)
		heard.until("a refusal", func(l cluster.Listing[*corev1.Pod]) bool { return cluster.Refused(l.Err) })
		time.Sleep(time.Second)
		s.fail(nil)
		began := time.Now()
		heard.names("a")
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v to see that the server is ready", took)
		}
	})
}

func TestServerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		hang := func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
		s.fail(hang)
		heard := followPods(s)
		time.Sleep(50 * time.Millisecond)
		heard.stop() // it must end although a request is under way
		config := s.config()
		config.Patience = 100 * time.Millisecond
		_, err := newClient(t, config).GetPod(t.Context(), "default", "a")
		if !cluster.Unreachable(err) {
			t.Errorf("a call to a hanging server returns %v", err)
		}
	})
}

// TestConnectionGoesSilent holds that a connection whose other end has vanished is noticed, by pings.
func TestConnectionGoesSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		heard := followPods(s)
		heard.names()
		time.Sleep(time.Minute)
		s.net.freeze()
		s.put("pods", podNamed("a", "1"))
		began := time.Now()
		heard.names("a")
		if took := time.Since(began); took > 46*time.Second {
			t.Errorf("it took %v to notice", took)
		}
	})
}

// TestHeadOfWatchNeverComes holds that a watch is given up that the server takes and then forgets.
func TestHeadOfWatchNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.put("pods", podNamed("a", "1"))
		s.fail(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
		heard := followPods(s)
		began := time.Now()
		l := heard.until("an error", func(l cluster.Listing[*corev1.Pod]) bool { return l.Err != nil })
		if took := time.Since(began); took != 90*time.Second || l.Err.Error() != "follow pods of this node: the API server has not answered for too long" || !cluster.Unreachable(l.Err) {
			t.Errorf("after %v: %v", took, l.Err)
		}
		s.fail(nil)
		heard.names("a")
	})
}

// TestWatchThatTheServerForgets holds that a watch ends by itself when the server does not end it in time, as it was asked to.
func TestWatchThatTheServerForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.fail(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("watch") == "" {
				return false
			}
			send := s.stream(w, r)
			mark := s.mark("pods", 100)
			mark.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
			send("BOOKMARK", mark)
			<-r.Context().Done()
			return true
		})
		heard := followPods(s)
		heard.names()
		s.fail(nil)
		s.put("pods", podNamed("a", "1"))
		began := time.Now()
		heard.patience = 15 * time.Minute
		if l := heard.names("a"); l.Err != nil || time.Since(began) > 11*time.Minute {
			t.Errorf("after %v the listing says %v", time.Since(began), l.Err)
		}
	})
}

func TestSlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.put("pods", podNamed("a", "1"))
		s.fail(func(http.ResponseWriter, *http.Request) bool { time.Sleep(2 * time.Second); return false })
		began := time.Now()
		heard := followPods(s)
		heard.names("a")
		if took := time.Since(began); took > 3500*time.Millisecond {
			t.Errorf("the first listing took %v, want that of one request", took)
		}
		s.put("pods", podNamed("b", "1"))
		heard.names("a", "b")
	})
}
