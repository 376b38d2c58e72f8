package integration

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Never does not ask, IfNotPresent asks once, Always each time (behaviours 153, 155).
func TestPullPolicies(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	var resolved atomic.Int32
	registry := n.bed.StartRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/manifests/v1") {
				resolved.Add(1)
			}
			next.ServeHTTP(w, r)
		})
	})
	ref, err := registry.Push("testbox", "policies", "v1")
	if err != nil {
		t.Fatal(err)
	}
	pod := func(name, policy string) *box {
		return n.pod(t, name, "spec: {containers: [{name: main, image: \""+ref+"\", imagePullPolicy: "+policy+"}]}")
	}
	never := pod("policy-never", "Never")
	n.untilLogged(t, "policy-never-here", "reason=ErrImageNeverPull", "is not present with pull policy of Never", ref)
	pod("policy-absent", "IfNotPresent").untilRunning("main")
	same(t, "times the tag was looked up by IfNotPresent", resolved.Load(), int32(1))
	n.untilLogged(t, "policy-absent-here", "Successfully pulled image", ref, "including waiting", "Image size: ")
	pod("policy-present", "IfNotPresent").untilRunning("main")
	same(t, "times after the image was present", resolved.Load(), int32(1))
	n.untilLogged(t, "policy-present-here", "Container image", ref, "already present on machine")
	pod("policy-always", "Always").untilRunning("main")
	same(t, "times after Always", resolved.Load(), int32(2))
	never.untilRunning("main") // the image came otherwise; the next look finds it
}

// A private registry, with the credentials of a docker configuration; without them a clear refusal, and recovery once
// they are there (behaviours 159-161).
func TestPrivateRegistry(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	registry := n.bed.StartRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "jane" || password != "s3cret-word" {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				http.Error(w, "who are you", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	ref, err := registry.Push("testbox", "private/box", "v1")
	if err != nil {
		t.Fatal(err)
	}
	b := n.pod(t, "private", "spec: {containers: [{name: main, image: \""+ref+"\"}]}")
	n.untilLogged(t, "private-here", "Failed to pull image", ref, "authorization failed")
	n.untilLogged(t, "private-here", "Back-off pulling image", ref, "reason=BackOff")
	auth := base64.StdEncoding.EncodeToString([]byte("jane:s3cret-word"))
	config := fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, registry.Host, auth)
	file := filepath.Join(n.root, "config.json")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(file) })
	b.untilRunning("main")
	if said := n.said(); strings.Contains(said, "s3cret-word") || strings.Contains(said, auth) {
		t.Error("the password is in the agent's log")
	}
}

// Two pods that want one image share one pull (issue: pulls shared between pods).
func TestPullIsShared(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	var resolved atomic.Int32
	hold := make(chan struct{})
	registry := n.bed.StartRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				resolved.Add(1)
				<-hold
			}
			next.ServeHTTP(w, r)
		})
	})
	release := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	ref, err := registry.Push("testbox", "shared", "v1")
	if err != nil {
		t.Fatal(err)
	}
	spec := "spec: {containers: [{name: main, image: \"" + ref + "\", imagePullPolicy: Always}]}"
	one := n.pod(t, "pull-one", spec)
	two := n.pod(t, "pull-two", spec)
	// Sandboxes are made while the pull still waits (issue: side by side).
	one.sandbox()
	two.sandbox()
	n.untilLogged(t, "pull-one-here", "Pulling image", ref)
	eventually(t, func() error {
		if resolved.Load() == 0 {
			return fmt.Errorf("the registry has not been asked")
		}
		return nil
	})
	release()
	one.untilRunning("main")
	two.untilRunning("main")
	same(t, "pulls", resolved.Load(), int32(1))
}

// A pull that nobody wants any more is cancelled: the pod goes at once (issue: cancelled when nobody wants it).
func TestPullIsCancelled(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	given := make(chan struct{})
	registry := n.bed.StartRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodHead {
				next.ServeHTTP(w, r)
				return
			}
			<-r.Context().Done() // hangs
			select {
			case <-given:
			default:
				close(given)
			}
		})
	})
	ref, err := registry.Push("testbox", "hanging", "v1")
	if err != nil {
		t.Fatal(err)
	}
	b := n.pod(t, "unwanted", "spec: {containers: [{name: main, image: \""+ref+"\"}]}")
	b.sandbox()
	n.untilLogged(t, "unwanted-here", "Pulling image", ref)
	b.remove()
	within(t, 20*time.Second, func() error {
		if left := b.left(); left != "" {
			return fmt.Errorf("left of the pod: %s", left)
		}
		return nil
	})
	select {
	case <-given:
	case <-time.After(patience):
		t.Error("the registry is still being asked")
	}
}

// What can be wrong with an image, in words (behaviours 64, 154, 156), while the pod's other container runs.
func TestBadImages(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	refuse := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.Contains(r.URL.Path, "/denied/"):
				http.Error(w, `{"errors":[{"code":"DENIED","message":"go away"}]}`, http.StatusForbidden)
			case strings.Contains(r.URL.Path, "/broken/"):
				http.Error(w, "oops", http.StatusInternalServerError)
			case strings.Contains(r.URL.Path, "/nonsense/"):
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				fmt.Fprint(w, "<html>not a manifest</html>")
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
	registry := n.bed.StartRegistry(t, refuse)
	for _, test := range []struct{ name, image, want string }{
		{"missing", registry.Host + "/no/such:v1", "not found"},
		{"denied", registry.Host + "/denied/box:v1", "403 Forbidden"},
		{"broken", registry.Host + "/broken/box:v1", "500 Internal Server Error"},
		{"nonsense", registry.Host + "/nonsense/box:v1", ""},
		{"refusing", "127.0.0.1:1/no/registry:v1", "connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := n.pod(t, "image-"+test.name, `
spec:
  containers:
  - {name: main, image: "`+test.image+`"}
  - {name: well, image: BOX}
`)
			n.untilLogged(t, "image-"+test.name+"-here", "Failed to pull image", test.image, test.want)
			n.untilLogged(t, "image-"+test.name+"-here", "Error: ", "reason=Failed")
			b.untilRunning("well")
		})
	}
	t.Run("invalid", func(t *testing.T) {
		t.Parallel()
		n.pod(t, "image-invalid", `spec: {containers: [{name: main, image: "Not An Image"}]}`)
		n.untilLogged(t, "image-invalid-here", "InvalidImageName")
	})
}

// An entrypoint that does not exist: the reason names it, the next try follows back-off, a mended manifest runs
// (behaviours 58, 64, 66).
func TestEntrypointThatDoesNotExist(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	spec := func(command string) string {
		return "spec: {containers: [{name: main, image: BOX, command: [" + command + "]}, {name: well, image: BOX}]}"
	}
	b := n.pod(t, "noentry", spec("/no/such/program"))
	n.untilLogged(t, "noentry-here", "Error: ", "/no/such/program", "no such file or directory", "reason=Failed")
	b.untilRunning("well")
	b.write(n.text("noentry", spec("/testbox, wait")))
	b.until("main", "running", func(c *runtimeapi.ContainerStatus) bool {
		return c.State == runtimeapi.ContainerState_CONTAINER_RUNNING
	})
}
