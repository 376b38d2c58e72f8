package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/cluster"
)

// dieYoung has every watch end that many milliseconds after it has begun.
func (s *apiServer) dieYoung(after time.Duration) {
	s.fail(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("watch") == "" {
			return false
		}
		ctx, cancel := context.WithTimeout(r.Context(), after)
		defer cancel()
		resource, _ := parsePath(r.URL.Path)
		s.watch(w, r.WithContext(ctx), resource, r.URL.Query().Get("sendInitialEvents") == "true")
		return true
	})
}

// watches counts the watches that were begun.
func (s *apiServer) watches() (n int) {
	for _, r := range s.asked() {
		if strings.HasPrefix(r, "WATCH") {
			n++
		}
	}
	return n
}

// TestWatchesThatDieYoungForLong: something cuts each watch within a second, for long. Each new one brings what there is, so that news are
// some seconds old at most; nobody storms; and when it is over, watches live again.
func TestWatchesThatDieYoungForLong(t *testing.T) {
	for _, after := range []time.Duration{0, 300 * time.Millisecond, 900 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newAPIServer(t)
				s.dieYoung(after)
				heard := followPods(s)
				time.Sleep(10 * time.Minute)
				s.watches()
				time.Sleep(10 * time.Minute)
				if n := s.watches(); n < 600*10/40 || n > 600/2 { // each 2 to 3 s, and what it lived
					t.Errorf("%d watches were begun in ten minutes", n)
				}
				for i := range 5 {
					began := time.Now()
					s.put("pods", podNamed(fmt.Sprint("p", i), "1"))
					heard.until("the new pod", func(l cluster.Listing[*corev1.Pod]) bool { return len(l.Objects) == i+1 })
					if took := time.Since(began); took > 4*time.Second {
						t.Errorf("it took %v to hear of a pod", took)
					}
					time.Sleep(7 * time.Second)
				}
				s.fail(nil)
				time.Sleep(4 * time.Second)
				s.watches()
				time.Sleep(2 * time.Minute)
				if n := s.watches(); n > 1 {
					t.Errorf("%d watches were begun after it was over", n)
				}
			})
		})
	}
}

// TestManyWatchesThatDieYoung: a node that follows much makes longer pauses with each object, so that it asks some ten times a second
// at most.
func TestManyWatchesThatDieYoung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.dieYoung(200 * time.Millisecond)
		client := s.client()
		var all []*told[*corev1.Secret]
		for i := range 60 {
			all = append(all, following(t, func(ctx context.Context, tell func(cluster.Listing[*corev1.Secret])) {
				client.FollowSecret(ctx, "default", fmt.Sprint("s", i), tell)
			}))
		}
		time.Sleep(5 * time.Minute)
		s.watches()
		time.Sleep(5 * time.Minute)
		if n := s.watches(); n > 300*10 || n < 300*5 {
			t.Errorf("%d watches were begun in five minutes", n)
		}
		for _, h := range all[1:] {
			h.stop()
		}
		time.Sleep(10 * time.Second)
		s.watches()
		time.Sleep(5 * time.Minute)
		if n := s.watches(); n < 300*10/40 { // the others have left: the pauses are short again
			t.Errorf("%d watches were begun in five minutes for the one that is left", n)
		}
	})
}
