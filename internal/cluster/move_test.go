package cluster_test

import (
	"crypto/tls"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/cluster"
)

// below puts the API below a path, as proxies for many clusters do.
func (s *apiServer) below(prefix string) {
	s.server.Handler = http.StripPrefix(prefix, http.HandlerFunc(s.serve))
}

// TestMove: another API server, that another authority vouches for, takes the place of the first one. What was followed is asked for
// anew, at once, and nothing goes to the first one any more.
func TestMove(t *testing.T) {
	for name, c := range map[string]struct{ before, after string }{
		"another server":  {"", ""},
		"below a path":    {"", "/k8s/clusters/c-1"},
		"above it":        {"/k8s/clusters/c-1/", ""},
		"to another path": {"/a", "/b/c"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, second := newAPIServer(t), newAPIServer(t)
				first.below(strings.TrimSuffix(c.before, "/"))
				second.below(c.after)
				first.put("pods", podNamed("a", "1"))
				second.put("pods", podNamed("b", "2"))
				second.put("nodes", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "second"}})
				config := first.config()
				config.REST.Host += c.before
				client := newClient(t, config)
				heard := following(t, client.FollowPods)
				heard.names("a")
				time.Sleep(time.Minute)
				first.asked()
				back := client.Back()

				to := second.config().REST
				to.Host += c.after
				to.BearerToken = "new"
				began := time.Now()
				if err := client.Move(to); err != nil {
					t.Fatal(err)
				}
				heard.names("b")
				if took := time.Since(began); took > 200*time.Millisecond {
					t.Errorf("it took %v to hear of the pods of the second server", took)
				}
				select {
				case <-back:
				default:
					t.Error("those who wait to try again were not woken")
				}
				if n, err := client.GetNode(t.Context(), "n1"); err != nil || n.UID != "second" {
					t.Errorf("%v, %v", n, err)
				}
				second.put("pods", podNamed("d", "4"))
				heard.names("b", "d")
				time.Sleep(20 * time.Minute)
				if asked := first.asked(); len(asked) > 0 {
					t.Errorf("the first server was asked: %q", asked)
				}
				if asked := second.asked(); !slices.Contains(asked, "WATCHLIST pods") {
					t.Errorf("the second server was asked: %q", asked)
				}
			})
		})
	}
}

// TestMoveWhileAway: what waits for its next attempt does not wait longer.
func TestMoveWhileAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newAPIServer(t), newAPIServer(t)
		second.put("pods", podNamed("b", "2"))
		first.net.setDown(true)
		client := first.client()
		heard := following(t, client.FollowPods)
		time.Sleep(10 * time.Minute)
		began := time.Now()
		if err := client.Move(second.config().REST); err != nil {
			t.Fatal(err)
		}
		heard.names("b")
		if took := time.Since(began); took > 200*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// TestMoveToNowhere: what cannot be used changes nothing.
func TestMoveToNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.put("pods", podNamed("a", "1"))
		client := s.client()
		heard := following(t, client.FollowPods)
		heard.names("a")
		bad := s.config().REST
		bad.CAData = []byte("-----BEGIN CERTIFICATE-----\nrubbish")
		if err := client.Move(bad); err == nil {
			t.Error("an authority that is none was taken")
		}
		s.put("pods", podNamed("b", "1"))
		if l := heard.names("a", "b"); l.Err != nil {
			t.Error(l.Err)
		}
	})
}

// TestMoveKeepsTheCertificate: it comes from the agent, not from the kubeconfig, and is shown to the next server, too.
func TestMoveKeepsTheCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := newAPIServer(t), newAPIServer(t)
		config := first.config()
		pair := pairOf(t, "node", time.Now().AddDate(1, 0, 0))
		config.GetClientCertificate = func() *tls.Certificate { return pair }
		client := newClient(t, config)
		_, _ = client.GetNode(t.Context(), "n1")
		if err := client.Move(second.config().REST); err != nil {
			t.Fatal(err)
		}
		if _, err := client.GetNode(t.Context(), "n1"); !cluster.IsNotFound(err) {
			t.Error(err)
		}
		if got := second.peer(); got != "node" {
			t.Errorf("the second server sees %q", got)
		}
	})
}
