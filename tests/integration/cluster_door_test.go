package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	authentication "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// door asks the secure server directly, as somebody: nobody if id and token are empty.
func (m *member) door(t *testing.T, id controlplane.Identity, token, method, path string) (code int, body string) {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true} // who the node is, is another test's
	if id.User != "" {
		pair, err := m.plane.Issue(id)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := tls.X509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(deadline(t, patience), method, m.secureURL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func (m *member) secureURL() string { return fmt.Sprintf("https://%s:%d", nodeIP, m.secure) }

// allow lets a user do something with the subresources of nodes.
func (m *member) allow(t *testing.T, who rbac.Subject, verb string, resources ...string) {
	t.Helper()
	name := strings.ToLower(fmt.Sprintf("door:%s:%s:%s", who.Namespace, who.Name, strings.ReplaceAll(strings.Join(resources, ":"), "/", "-")))
	role := &rbac.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbac.PolicyRule{{APIGroups: []string{""}, Resources: resources, Verbs: []string{verb}}}}
	if _, err := m.api.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbac.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: name}, Subjects: []rbac.Subject{who},
	}
	if _, err := m.api.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		_ = m.api.RbacV1().ClusterRoleBindings().Delete(ctx, name, metav1.DeleteOptions{}) // what is left does no harm
		_ = m.api.RbacV1().ClusterRoles().Delete(ctx, name, metav1.DeleteOptions{})
	})
}

func person(name string) rbac.Subject {
	return rbac.Subject{Kind: rbac.UserKind, APIGroup: rbac.GroupName, Name: name}
}

// untilMay waits until the API server knows of a permission: it hears of roles a moment after they are made, and a node
// remembers a refusal for a while, so it is not asked before.
func (m *member) untilMay(t *testing.T, user, verb, subresource string) {
	t.Helper()
	eventually(t, func() error {
		_, err := m.plane.Kubectl(t.Context(), "auth", "can-i", verb, "nodes/"+m.name, "--subresource="+subresource, "--as="+user, "-q")
		return err
	})
}

// Who comes to the port 10250 must be somebody (401) and may do what the API server allows (403), down to single
// subresources (behaviours 325-328).
func TestDoor(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	g := m.create(t, ns, "inside", `spec: {containers: [{name: main, image: SHELL, command: [sh, -c, 'echo hello; sleep 3600']}]}`)
	g.untilReady()
	account := &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "scraper"}}
	if _, err := m.api.CoreV1().ServiceAccounts(ns).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	token, err := m.api.CoreV1().ServiceAccounts(ns).CreateToken(t.Context(), "scraper", &authentication.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m.allow(t, rbac.Subject{Kind: rbac.ServiceAccountKind, Namespace: ns, Name: "scraper"}, "get", "nodes/metrics")
	m.allow(t, person("lister"), "get", "nodes/pods")
	m.allow(t, person("reader"), "get", "nodes/configz", "nodes/healthz", "nodes/statusz", "nodes/log", "nodes/stats")
	m.allow(t, person("old-hand"), "get", "nodes/proxy")
	scraper := "system:serviceaccount:" + ns + ":scraper"
	for user, subresource := range map[string]string{scraper: "metrics", "lister": "pods", "reader": "configz", "old-hand": "proxy"} {
		m.untilMay(t, user, "get", subresource)
	}
	user := func(name string) controlplane.Identity { return controlplane.Identity{User: name} }
	nobody, logs := controlplane.Identity{}, "/containerLogs/"+ns+"/inside/main"
	for _, c := range []struct {
		who    controlplane.Identity
		token  string
		method string
		path   string
		code   int
		text   string // of the answer, whole if the code is not 200
	}{
		{nobody, "", "GET", "/pods", 401, "Unauthorized"},
		{nobody, "", "GET", "/healthz", 401, "Unauthorized"},
		{nobody, "nonsense", "GET", "/metrics", 401, "Unauthorized"},
		{user("stranger"), "", "GET", "/pods", 403, "Forbidden (user=stranger, verb=get, resource=nodes, subresource(s)=[pods proxy])"},
		{user("stranger"), "", "GET", "/metrics/resource", 403, "Forbidden (user=stranger, verb=get, resource=nodes, subresource(s)=[metrics])"},
		{user("stranger"), "", "GET", "/stats/summary", 403, "Forbidden (user=stranger, verb=get, resource=nodes, subresource(s)=[stats])"},
		{user("stranger"), "", "POST", "/run/" + ns + "/inside/main?cmd=id", 403, "Forbidden (user=stranger, verb=create, resource=nodes, subresource(s)=[proxy])"},
		{nobody, token.Status.Token, "GET", "/metrics", 200, "\nkubelet_running_pods "},
		{nobody, token.Status.Token, "GET", "/metrics/probes", 200, ""},
		{nobody, token.Status.Token, "GET", "/metrics/resource", 200, "\nnode_cpu_usage_seconds_total "},
		{nobody, token.Status.Token, "GET", "/metrics/cadvisor", 200, "\nmachine_cpu_cores{"},
		{nobody, token.Status.Token, "GET", "/stats/summary", 403, "Forbidden (user=" + scraper + ", verb=get, resource=nodes, subresource(s)=[stats])"},
		{nobody, token.Status.Token, "GET", "/pods", 403, "Forbidden (user=" + scraper + ", verb=get, resource=nodes, subresource(s)=[pods proxy])"},
		{user("lister"), "", "GET", "/pods", 200, g.uid},
		{user("lister"), "", "GET", "/runningpods/", 200, g.uid},
		{user("lister"), "", "GET", "/configz", 403, "Forbidden (user=lister, verb=get, resource=nodes, subresource(s)=[configz proxy])"},
		{user("lister"), "", "GET", logs, 403, "Forbidden (user=lister, verb=get, resource=nodes, subresource(s)=[proxy])"},
		{user("reader"), "", "GET", "/configz", 200, "kubeletconfig"},
		{user("reader"), "", "GET", "/flagz", 200, "kubelet flagz"},
		{user("reader"), "", "GET", "/statusz", 200, "kubelet statusz"},
		{user("reader"), "", "GET", "/healthz/ping", 200, "ok"},
		{user("reader"), "", "GET", "/logs/", 200, ""},
		{user("reader"), "", "GET", "/stats/summary", 200, `"nodeName":"`},
		{user("old-hand"), "", "GET", logs, 200, "hello"},
		{user("old-hand"), "", "GET", "/pods", 200, g.uid},
		{user("old-hand"), "", "GET", "/metrics", 403, "Forbidden (user=old-hand, verb=get, resource=nodes, subresource(s)=[metrics])"},
		{user("old-hand"), "", "POST", "/run/" + ns + "/inside/main?cmd=id", 403, "Forbidden (user=old-hand, verb=create, resource=nodes, subresource(s)=[proxy])"},
		{controlplane.Identity{User: "boss", Groups: []string{"system:masters"}}, "", "POST", "/run/" + ns + "/inside/main?cmd=id", 200, "uid=0"},
		{controlplane.Identity{User: "boss", Groups: []string{"system:masters"}}, "", "GET", "/nowhere", 404, "404 page not found\n"},
	} {
		code, body := m.door(t, c.who, c.token, c.method, c.path)
		what := fmt.Sprintf("%s %s by %q", c.method, c.path, c.who.User)
		same(t, what, code, c.code)
		switch {
		case c.code == 200 && !strings.Contains(body, c.text):
			t.Errorf("%s lacks %q:\n%.500s", what, c.text, body)
		case c.code != 200 && body != c.text:
			t.Errorf("%s is answered %q, want %q", what, body, c.text)
		}
	}
}

// The node's certificate is one that the cluster's authority vouches for.
func TestDoorShowsItsCertificate(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ca, err := os.ReadFile(m.plane.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{Host: m.secureURL(), TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get(m.secureURL() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	same(t, "the answer to nobody", resp.StatusCode, 401)
	if resp.TLS.Version < tls.VersionTLS12 {
		t.Errorf("TLS version %x", resp.TLS.Version)
	}
}

// Programs that speak to the node itself run commands in containers, over SPDY and over WebSocket.
func TestExecAtTheDoor(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	g := m.create(t, ns, "direct", `spec: {containers: [{name: main, image: SHELL, command: [sleep, "3600"]}]}`)
	g.untilReady()
	pair, err := m.plane.Issue(controlplane.Identity{User: "boss", Groups: []string{"system:masters"}})
	if err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{Host: m.secureURL(), TLSClientConfig: rest.TLSClientConfig{CAFile: m.plane.CAFile, CertData: pair.Cert, KeyData: pair.Key}}
	query := url.Values{"command": {"sh", "-c", "cat; echo aside >&2; exit 9"}, "input": {"1"}, "output": {"1"}, "error": {"1"}}
	for _, path := range []string{"/exec/" + ns + "/direct/main", "/exec/" + ns + "/direct/" + g.uid + "/main"} {
		at, err := url.Parse(m.secureURL() + path + "?" + query.Encode())
		if err != nil {
			t.Fatal(err)
		}
		spdy, err := remotecommand.NewSPDYExecutor(config, "POST", at)
		if err != nil {
			t.Fatal(err)
		}
		socket, err := remotecommand.NewWebSocketExecutor(config, "GET", at.String())
		if err != nil {
			t.Fatal(err)
		}
		for name, executor := range map[string]remotecommand.Executor{"SPDY": spdy, "WebSocket": socket} {
			var out, errs bytes.Buffer
			err = executor.StreamWithContext(deadline(t, patience), remotecommand.StreamOptions{Stdin: strings.NewReader("what was sent"), Stdout: &out, Stderr: &errs})
			var code exec.CodeExitError
			if !errors.As(err, &code) || code.Code != 9 || out.String() != "what was sent" || errs.String() != "aside\n" {
				t.Errorf("%s to %s: %v, output %q, errors %q", name, path, err, out.String(), errs.String())
			}
		}
	}
}
