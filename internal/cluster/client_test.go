package cluster_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/bosun-project/bosun/internal/cluster"
)

var verbMeta = metav1.ObjectMeta{Namespace: "ns", Name: "x"}

type verb func(context.Context, *cluster.Client) (any, error)

var verbs = []struct {
	name    string
	call    verb
	request string
	error   string
	answer  runtime.Object
	// body is what the request must hold, by path.
	body map[string]string
}{
	{"get pod", func(ctx context.Context, c *cluster.Client) (any, error) { return c.GetPod(ctx, "ns", "x") },
		"GET /api/v1/namespaces/ns/pods/x", "get pod ns/x", &corev1.Pod{}, nil},
	{"create pod", func(ctx context.Context, c *cluster.Client) (any, error) {
		return c.CreatePod(ctx, &corev1.Pod{ObjectMeta: verbMeta})
	},
		"POST /api/v1/namespaces/ns/pods", "create pod ns/x", &corev1.Pod{}, map[string]string{"metadata.name": "x"}},
	{"delete pod", func(ctx context.Context, c *cluster.Client) (any, error) {
		return nil, c.DeletePod(ctx, "ns", "x", "u1", 0)
	},
		"DELETE /api/v1/namespaces/ns/pods/x", "delete pod ns/x", &metav1.Status{}, map[string]string{"preconditions.uid": "u1", "gracePeriodSeconds": "0"}},
	{"patch pod status", func(ctx context.Context, c *cluster.Client) (any, error) {
		return c.PatchPodStatus(ctx, "ns", "x", "u1", []byte(`{"status":{"phase":"Running"},"metadata":{"labels":null}}`))
	}, "PATCH /api/v1/namespaces/ns/pods/x/status", "patch status of pod ns/x", &corev1.Pod{}, map[string]string{"metadata.uid": "u1", "status.phase": "Running"}},
	{"get node", func(ctx context.Context, c *cluster.Client) (any, error) { return c.GetNode(ctx, "n1") },
		"GET /api/v1/nodes/n1", "get node n1", &corev1.Node{}, nil},
	{"create node", func(ctx context.Context, c *cluster.Client) (any, error) {
		return c.CreateNode(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	}, "POST /api/v1/nodes", "create node n1", &corev1.Node{}, map[string]string{"metadata.name": "n1"}},
	{"patch node", func(ctx context.Context, c *cluster.Client) (any, error) {
		return c.PatchNode(ctx, "n1", []byte(`{"a":"b"}`))
	},
		"PATCH /api/v1/nodes/n1", "patch node n1", &corev1.Node{}, map[string]string{"a": "b"}},
	{"patch node status", func(ctx context.Context, c *cluster.Client) (any, error) {
		return c.PatchNodeStatus(ctx, "n1", []byte(`{"a":"b"}`))
	},
		"PATCH /api/v1/nodes/n1/status", "patch status of node n1", &corev1.Node{}, map[string]string{"a": "b"}},
	{"get lease", func(ctx context.Context, c *cluster.Client) (any, error) { return c.GetLease(ctx, "n1") },
		"GET /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", "get lease n1", &coordinationv1.Lease{}, nil},
	{"create lease", func(ctx context.Context, c *cluster.Client) (any, error) {
		return c.CreateLease(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	}, "POST /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", "create lease n1", &coordinationv1.Lease{}, map[string]string{"metadata.name": "n1"}},
	{"update lease", func(ctx context.Context, c *cluster.Client) (any, error) {
		return c.UpdateLease(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "n1", ResourceVersion: "7"}})
	}, "PUT /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1", "update lease n1", &coordinationv1.Lease{}, map[string]string{"metadata.resourceVersion": "7"}},
	{"get service account", func(ctx context.Context, c *cluster.Client) (any, error) { return c.GetServiceAccount(ctx, "ns", "x") },
		"GET /api/v1/namespaces/ns/serviceaccounts/x", "get service account ns/x", &corev1.ServiceAccount{}, nil},
	{"create token", func(ctx context.Context, c *cluster.Client) (any, error) {
		return c.CreateToken(ctx, "ns", "x", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"a"}}})
	}, "POST /api/v1/namespaces/ns/serviceaccounts/x/token", "create token of service account ns/x", &authenticationv1.TokenRequest{}, map[string]string{"spec.audiences": "[a]"}},
	{"create csr", func(ctx context.Context, c *cluster.Client) (any, error) {
		return c.CreateCSR(ctx, &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{GenerateName: "csr-"}})
	}, "POST /apis/certificates.k8s.io/v1/certificatesigningrequests", "create certificate signing request csr-", &certificatesv1.CertificateSigningRequest{}, map[string]string{"metadata.generateName": "csr-"}},
	{"get csr", func(ctx context.Context, c *cluster.Client) (any, error) { return c.GetCSR(ctx, "x") },
		"GET /apis/certificates.k8s.io/v1/certificatesigningrequests/x", "get certificate signing request x", &certificatesv1.CertificateSigningRequest{}, nil},
	{"review token", func(ctx context.Context, c *cluster.Client) (any, error) {
		return c.ReviewToken(ctx, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: "t"}})
	}, "POST /apis/authentication.k8s.io/v1/tokenreviews", "review a token", &authenticationv1.TokenReview{}, map[string]string{"spec.token": "t"}},
	{"review access", func(ctx context.Context, c *cluster.Client) (any, error) {
		return c.ReviewAccess(ctx, &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: "u"}})
	}, "POST /apis/authorization.k8s.io/v1/subjectaccessreviews", "review the access of u", &authorizationv1.SubjectAccessReview{}, map[string]string{"spec.user": "u"}},
	{"create event", func(ctx context.Context, c *cluster.Client) (any, error) {
		return c.CreateEvent(ctx, &corev1.Event{ObjectMeta: verbMeta})
	},
		"POST /api/v1/namespaces/ns/events", "create event ns/x", &corev1.Event{}, map[string]string{"metadata.name": "x"}},
	{"patch event", func(ctx context.Context, c *cluster.Client) (any, error) {
		return c.PatchEvent(ctx, "ns", "x", []byte(`{"count":2}`))
	},
		"PATCH /api/v1/namespaces/ns/events/x", "patch event ns/x", &corev1.Event{}, map[string]string{"count": "2"}},
}

func TestVerbs(t *testing.T) {
	for _, c := range verbs {
		for _, content := range []string{runtime.ContentTypeProtobuf, runtime.ContentTypeJSON} {
			synctest.Test(t, func(t *testing.T) {
				s := newAPIServer(t)
				var asked string
				var got map[string]any
				s.fail(func(w http.ResponseWriter, r *http.Request) bool {
					asked = r.Method + " " + r.URL.Path
					if agent := r.UserAgent(); !strings.HasPrefix(agent, "kubelet/v1.37.1 (linux/") || !strings.HasSuffix(agent, ") bosun/test") {
						t.Errorf("%s: user agent %q", c.name, agent)
					}
					kind := r.Header.Get("Content-Type")
					if want := map[bool]string{false: content, true: "application/strategic-merge-patch+json"}[r.Method == "PATCH"]; r.ContentLength > 0 && kind != want {
						t.Errorf("%s: content type %q, want %q", c.name, kind, want)
					}
					got = s.decode(r)
					s.write(w, r, http.StatusOK, c.answer)
					return true
				})
				config := s.config()
				config.ContentType = content
				client := newClient(t, config)
				if _, err := c.call(t.Context(), client); err != nil || asked != c.request {
					t.Errorf("%s: asked %s, error %v", c.name, asked, err)
				}
				for path, want := range c.body {
					if have := fmt.Sprint(at(got, path)); have != want {
						t.Errorf("%s: %s is %s, want %s", c.name, path, have, want)
					}
				}
				s.fail(s.reply(apierrors.NewConflict(schema.GroupResource{Resource: "r"}, "x", errors.New("not that one")), nil))
				if _, err := c.call(t.Context(), client); !cluster.IsConflict(err) || !strings.HasPrefix(err.Error(), c.error+": ") {
					t.Errorf("%s: the error is %v", c.name, err)
				}
			})
		}
	}
}

func at(fields map[string]any, path string) any {
	var v any = fields
	for _, key := range strings.Split(path, ".") {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

func TestPatchThatIsNoObject(t *testing.T) {
	c, err := cluster.New(cluster.Config{REST: kubeconfigOf(t, "https://127.0.0.1:1"), Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, patch := range []string{"", "[]", `{"metadata":3}`} {
		if _, err := c.PatchPodStatus(t.Context(), "ns", "x", "u", []byte(patch)); err == nil || !strings.Contains(err.Error(), "is not a JSON object") {
			t.Errorf("%q: %v", patch, err)
		}
	}
}

// TestPatchOfAnotherPod holds that the API server's word for "that is another pod" is understood. The answer is that of a real one.
func TestPatchOfAnotherPod(t *testing.T) {
	for fieldName, want := range map[string]string{"metadata.uid": "conflict", "status.phase": ""} {
		synctest.Test(t, func(t *testing.T) {
			s := newAPIServer(t)
			refusal := field.ErrorList{field.Invalid(field.NewPath("metadata", "namespace"), "x", "no"), field.Invalid(field.NewPath(fieldName), "other", "field is immutable")}
			s.fail(s.reply(apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "x", refusal), nil))
			_, err := s.client().PatchPodStatus(t.Context(), "ns", "x", "u1", []byte("{}"))
			if err == nil || class(err) != want || !strings.HasPrefix(err.Error(), "patch status of pod ns/x: ") {
				t.Errorf("%s: %v is %q, want %q", fieldName, err, class(err), want)
			}
		})
	}
}

func TestErrorClasses(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for _, c := range []struct {
		name string
		err  *apierrors.StatusError
		want string
	}{
		{"not found", apierrors.NewNotFound(pods, "x"), "not found"},
		{"conflict", apierrors.NewConflict(pods, "x", errors.New("uid")), "conflict"},
		{"exists", apierrors.NewAlreadyExists(pods, "x"), "exists"},
		{"forbidden", apierrors.NewForbidden(pods, "x", errors.New("no")), "refused"},
		{"unauthorized", apierrors.NewUnauthorized("no"), "refused"},
		{"too many", apierrors.NewTooManyRequests("later", 0), "unreachable"},
		{"internal", apierrors.NewInternalError(errors.New("etcd")), "unreachable"},
		{"unavailable", apierrors.NewServiceUnavailable("starting"), "unreachable"},
		{"invalid", apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "x", nil), ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newAPIServer(t)
			s.fail(s.reply(c.err, nil))
			_, err := s.client().GetPod(t.Context(), "ns", "x")
			if got := class(err); err == nil || got != c.want {
				t.Errorf("%s: %v is %q, want %q", c.name, err, got, c.want)
			}
		})
	}
}

func class(err error) string {
	var is []string
	for name, test := range map[string]func(error) bool{"not found": cluster.IsNotFound, "conflict": cluster.IsConflict, "exists": cluster.AlreadyExists,
		"refused": cluster.Refused, "unreachable": cluster.Unreachable} {
		if test(err) {
			is = append(is, name)
		}
	}
	return strings.Join(is, ",")
}

func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.net.setDown(true)
		c := s.client()
		_, err := c.GetPod(t.Context(), "ns", "x")
		if class(err) != "unreachable" || err.Error() != "get pod ns/x: dial tcp: connection refused" {
			t.Errorf("nobody listens: %v is %q", err, class(err))
		}
		if l := c.Link().Value(); l.Up || l.Err == nil || !l.Since.Equal(time.Now()) {
			t.Errorf("the link is %+v", l)
		}
		s.net.setDown(false)
		s.fail(func(_ http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true })
		began := time.Now()
		if _, err = c.GetPod(t.Context(), "ns", "x"); class(err) != "unreachable" || time.Since(began) != 30*time.Second {
			t.Errorf("a server that hangs: %v is %q, after %v", err, class(err), time.Since(began))
		}
		began = time.Now()
		if _, err = c.GetLease(t.Context(), "n1"); class(err) != "unreachable" || time.Since(began) != 10*time.Second {
			t.Errorf("a heartbeat to a server that hangs: %v is %q, after %v", err, class(err), time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err = c.GetPod(ctx, "ns", "x"); class(err) != "" || !errors.Is(err, context.Canceled) {
			t.Errorf("a call that was cancelled: %v is %q", err, class(err))
		}
	})
}

// TestLanes holds that neither pods nor events make heartbeats wait.
func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		s.put("pods", podNamed("a", "1"))
		config := s.config()
		config.Requests, config.Events = cluster.Limit{QPS: 0.1, Burst: 1}, cluster.Limit{QPS: 0.1, Burst: 1}
		c := newClient(t, config)
		began := time.Now()
		if _, err := c.GetPod(t.Context(), "default", "a"); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			_, _ = c.GetNode(t.Context(), "n1")
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("heartbeats waited %v", took)
		}
		if _, err := c.GetPod(t.Context(), "default", "a"); err != nil || time.Since(began) < 9*time.Second {
			t.Errorf("the limit of requests does not hold: %v after %v", err, time.Since(began))
		}
		config.Patience = time.Second
		c = newClient(t, config)
		_, _ = c.GetPod(t.Context(), "default", "a")
		if _, err := c.GetPod(t.Context(), "default", "a"); class(err) != "unreachable" {
			t.Errorf("a call that cannot have its turn in time: %v is %q", err, class(err))
		}
	})
}

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		var mu sync.Mutex
		var seen, received []string
		var sent int64
		config := s.config()
		config.Observe = func(r cluster.Request) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, fmt.Sprintf("%s %s %s %s", r.Method, r.Host, r.Resource, r.Code))
			sent += r.Sent
		}
		config.Received = func(r cluster.Request, n int64) {
			mu.Lock()
			defer mu.Unlock()
			received = append(received, r.Method+" "+r.Resource)
			if n <= 0 {
				t.Errorf("the answer to %s %s has %d bytes", r.Method, r.Resource, n)
			}
		}
		c := newClient(t, config)
		_, _ = c.PatchPodStatus(t.Context(), "ns", "x", "u", []byte("{}"))
		_, _ = c.GetNode(t.Context(), "n1")
		_, _ = c.GetLease(t.Context(), "n1")
		s.net.setDown(true)
		_, _ = c.GetNode(t.Context(), "n1")
		want := []string{"PATCH api:6443 pods/status 405", "GET api:6443 nodes 404", "GET api:6443 leases 404", "GET api:6443 nodes <error>"}
		if !slices.Equal(seen, want) {
			t.Errorf("observed %q\nwant %q", seen, want)
		}
		if want := []string{"PATCH pods/status", "GET nodes", "GET leases"}; !slices.Equal(received, want) {
			t.Errorf("the lengths of the answers to %q, want %q", received, want)
		}
		if want := int64(len(`{"metadata":{"uid":"u"}}`)); sent != want {
			t.Errorf("%d bytes were sent, want %d", sent, want)
		}
	})
}

func pairOf(t *testing.T, name string, until time.Time) *tls.Certificate {
	key, cert := certificate(t, name, until)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

func TestClientCertificateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		config := s.config()
		first, second := pairOf(t, "first", time.Now().AddDate(1, 0, 0)), pairOf(t, "second", time.Now().AddDate(1, 0, 0))
		var current sync.Map
		current.Store(0, first)
		config.GetClientCertificate = func() *tls.Certificate { c, _ := current.Load(0); return c.(*tls.Certificate) }
		c := newClient(t, config)
		heard := following(t, c.FollowPods)
		heard.names()
		current.Store(0, second)
		_, _ = c.GetNode(t.Context(), "n1")
		if got := s.peer(); got != "first" {
			t.Errorf("an open connection is of %q", got)
		}
		c.CloseConnections()
		s.put("pods", podNamed("a", "1"))
		heard.names("a")
		if got := s.peer(); got != "second" {
			t.Errorf("after the change the connection is of %q", got)
		}
		if l := heard.names("a"); l.Err != nil {
			t.Errorf("the change left the error %v", l.Err)
		}
	})
}

func TestCertificateInKubeconfigExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		config := s.config()
		config.REST.KeyData, config.REST.CertData = certificate(t, "n1", time.Now().Add(time.Hour))
		c := newClient(t, config)
		time.Sleep(2 * time.Hour)
		s.fail(s.reply(apierrors.NewUnauthorized("Unauthorized"), nil))
		_, err := c.GetNode(t.Context(), "n1")
		if s.peer() != "n1" || !cluster.Refused(err) || !strings.Contains(err.Error(), "(the client certificate of n1 expired at 2000-01-01T01:00:00Z)") {
			t.Errorf("as %s: %v", s.peer(), err)
		}
	})
}

func TestCertificateFilesAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		config := s.config()
		dir := t.TempDir()
		config.REST.CertFile, config.REST.KeyFile = filepath.Join(dir, "both.pem"), filepath.Join(dir, "both.pem")
		write := func(name string, at, until time.Time) {
			key, cert := certificate(t, name, until)
			if err := os.WriteFile(config.REST.CertFile, append(cert, key...), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(config.REST.CertFile, at, at); err != nil {
				t.Fatal(err)
			}
		}
		write("old", time.Unix(1, 0), time.Now().Add(time.Hour))
		c := newClient(t, config)
		heard := following(t, c.FollowPods)
		heard.names()
		time.Sleep(2 * time.Hour)
		s.fail(s.reply(apierrors.NewUnauthorized("Unauthorized"), func(r *http.Request) bool { return r.TLS.PeerCertificates[0].Subject.CommonName == "old" }))
		s.endWatches()
		l := heard.until("an error", func(l cluster.Listing[*corev1.Pod]) bool { return l.Err != nil })
		if !cluster.Refused(l.Err) || !strings.Contains(l.Err.Error(), "the client certificate of old expired at 2000-01-01T01:00:00Z") {
			t.Errorf("the error is %v", l.Err)
		}
		if err := os.WriteFile(config.REST.CertFile, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		write("new", time.Unix(2, 0), time.Now().Add(time.Hour))
		s.put("pods", podNamed("a", "1"))
		if l := heard.names("a"); l.Err != nil || s.peer() != "new" {
			t.Errorf("after the file was replaced: %v as %s", l.Err, s.peer())
		}
	})
}

func TestServerCertificateIsOfAnotherAuthority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newAPIServer(t)
		config := s.config()
		_, config.REST.CAData = certificate(t, "other", time.Now().AddDate(1, 0, 0))
		_, err := newClient(t, config).GetNode(t.Context(), "n1")
		if class(err) != "unreachable" || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
			t.Errorf("the error is %v, class %q", err, class(err))
		}
	})
}

func TestLoadKubeconfig(t *testing.T) {
	dir := t.TempDir()
	key, cert := certificate(t, "n1", time.Now().AddDate(1, 0, 0))
	for name, content := range map[string][]byte{"ca.pem": cert, "n1.pem": cert, "n1.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := `apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "https://10.0.0.1:6443", certificate-authority: ca.pem}}]
users: [{name: u, user: {client-certificate: n1.pem, client-key: n1.key}}]
`
	for _, c := range []struct{ name, old, new, error string }{
		{"good", "", "", ""},
		{"data instead of files", "certificate-authority: ca.pem", "certificate-authority-data: " + base64.StdEncoding.EncodeToString(cert), ""},
		{"no user", "cluster: k, user: u", "cluster: k", ""},
		{"token", "client-certificate: n1.pem, client-key: n1.key", "token: secret", ""},
		{"no context chosen", "current-context: c", "current-context: ''", "current-context is empty; it must name one of the contexts"},
		{"unknown context", "current-context: c", "current-context: d", `current-context "d" is not among the contexts`},
		{"unknown cluster", "cluster: k,", "cluster: l,", `context "c": cluster "l" is not among the clusters`},
		{"unknown user", "user: u}", "user: v}", `context "c": user "v" is not among the users`},
		{"no server", `"https://10.0.0.1:6443"`, `""`, `cluster "k": server "" is not a URL such as https://10.0.0.1:6443`},
		{"server is no URL", `"https://10.0.0.1:6443"`, `"10.0.0.1:6443"`, `server "10.0.0.1:6443" is not a URL`},
		{"no such CA file", "ca.pem", "none.pem", "certificate-authority " + dir + "/none.pem: no such file or directory"},
		{"no such certificate", "n1.pem", "none.pem", "client-certificate " + dir + "/none.pem: no such file or directory"},
		{"no such key", "n1.key", "none.key", "client-key " + dir + "/none.key: no such file or directory"},
		{"certificate without key", ", client-key: n1.key", "", "client-key must be specified"},
		{"not YAML", good, "{", ""},
	} {
		path := filepath.Join(dir, "kubeconfig")
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(good, c.old, c.new)), 0o600); err != nil {
			t.Fatal(err)
		}
		if c.old == "" {
			if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		config, err := cluster.LoadKubeconfig(path)
		switch {
		case c.name == "not YAML":
			if err == nil || !strings.HasPrefix(err.Error(), "kubeconfig "+path+": ") {
				t.Errorf("%s: %v", c.name, err)
			}
		case c.error == "":
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			} else if _, err := cluster.New(cluster.Config{REST: config}); err != nil || config.Host != "https://10.0.0.1:6443" {
				t.Errorf("%s: %v, host %s", c.name, err, config.Host)
			}
		case err == nil || !strings.HasPrefix(err.Error(), "kubeconfig "+path+": ") || !strings.Contains(err.Error(), c.error):
			t.Errorf("%s: %v\nwant %s", c.name, err, c.error)
		}
	}
	if _, err := cluster.LoadKubeconfig(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that does not exist: %v", err)
	}
}
