package integration

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/testbed"
)

func TestBedPullsFromARegistry(t *testing.T) {
	t.Parallel()
	ctx := deadline(t, time.Minute)
	bed := testbed.Start(t, testbed.Options{Images: []string{}})
	var asked atomic.Int32
	registry := bed.StartRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if user, password, _ := r.BasicAuth(); user != "jane" || password != "open" {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				http.Error(w, "who are you", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	ref, err := registry.Push("busybox", "team/box", "v1")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := bed.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	images := runtimeapi.NewImageServiceClient(conn)
	pull := &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}}
	if _, err := images.PullImage(ctx, pull); err == nil || !strings.Contains(err.Error(), "authorization failed") {
		t.Errorf("pull without credentials: %v, want it refused", err)
	}
	pull.Auth = &runtimeapi.AuthConfig{Username: "jane", Password: "open"}
	if _, err := images.PullImage(ctx, pull); err != nil {
		t.Fatal(err)
	}
	if asked.Load() == 0 {
		t.Error("the pull went past the wrapped registry")
	}
	cri := dialBare(t, bed)
	events, err := cri.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	pod, config := cri.pod(ctx)
	ended(t, events, cri.start(ctx, pod, config, ref, "true"))
}
