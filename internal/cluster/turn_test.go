package cluster_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bosun-project/bosun/internal/cluster"
)

// TestTurns: it is told how long a request waited for its turn, where something limits it, and what it was answered with before.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.put("pods", podNamed("a", "1"))
		config := s.config()
		config.Requests = cluster.Limit{QPS: 0.2, Burst: 1}
		var seen []string
		config.Observe = func(r cluster.Request) {
			waited := "not limited"
			if r.Waited >= 0 {
				waited = "waited " + r.Waited.Round(time.Second).String()
			}
			seen = append(seen, fmt.Sprintf("%s %s %s again %q", r.Resource, r.Code, waited, r.Again))
		}
		c := newClient(t, config)
		get := func() {
			t.Helper()
			if _, err := c.GetPod(t.Context(), "default", "a"); err != nil {
				t.Error(err)
			}
		}
		get()
		get()
		_, _ = c.GetNode(t.Context(), "n1") // a heartbeat, which nothing limits
		busy := true
		s.fail(func(w http.ResponseWriter, _ *http.Request) bool {
			if !busy {
				return false
			}
			busy = false
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		})
		get()
		want := []string{
			`pods 200 waited 0s again ""`, `pods 200 waited 5s again ""`, `nodes 404 not limited again ""`,
			`pods 429 waited 5s again ""`, `pods 200 waited 4s again "429"`,
		}
		if !slices.Equal(seen, want) {
			t.Errorf("told\n%q\nwant\n%q", seen, want)
		}
	})
}
