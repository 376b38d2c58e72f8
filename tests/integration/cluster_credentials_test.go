package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/testbed"
	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// A vault is a registry that lets in jane with her password, and the service account robot of one namespace with a token.
type vault struct {
	*testbed.Registry
	m         *member
	namespace string
	// closed makes it answer nobody; asked counts requests.
	closed atomic.Bool
	asked  atomic.Int32
}

const (
	vaultPassword = "s3cret-w0rd"
	vaultAudience = "vault.example"
)

func newVault(t *testing.T, m *member) *vault {
	v := &vault{m: m}
	v.Registry = m.bed.StartRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			v.asked.Add(1)
			switch {
			case v.closed.Load():
				http.Error(w, "closed", http.StatusServiceUnavailable)
			case !v.lets(r):
				w.Header().Set("WWW-Authenticate", `Basic realm="vault"`)
				http.Error(w, "who are you", http.StatusUnauthorized)
			default:
				next.ServeHTTP(w, r)
			}
		})
	})
	return v
}

func (v *vault) lets(r *http.Request) bool {
	user, password, _ := r.BasicAuth()
	if user != "robot" {
		return user == "jane" && password == vaultPassword
	}
	review := &authentication.TokenReview{Spec: authentication.TokenReviewSpec{Token: password, Audiences: []string{vaultAudience}}}
	got, err := v.m.api.AuthenticationV1().TokenReviews().Create(r.Context(), review, metav1.CreateOptions{})
	return err == nil && got.Status.Authenticated && got.Status.User.Username == "system:serviceaccount:"+v.namespace+":robot"
}

// login makes a pull secret with jane's password.
func (v *vault) login(t *testing.T, ns, name string) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"auths": map[string]any{v.Host: map[string]string{"username": "jane", "password": vaultPassword}}})
	if err != nil {
		t.Fatal(err)
	}
	s := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: text}}
	if _, err := v.m.api.CoreV1().Secrets(ns).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// provider makes a credential provider that hands on the token of the service account robot; it returns its flags and a file
// to which each run adds a line. Its configuration is written by the function it returns.
func tokenProvider(t *testing.T) (flags []string, runs string, configure func(host string)) {
	dir := t.TempDir()
	config, bin := filepath.Join(dir, "providers.yaml"), filepath.Join(dir, "bin")
	runs = filepath.Join(dir, "runs")
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"--image-credential-provider-config=" + config, "--image-credential-provider-bin-dir=" + bin}, runs, func(host string) {
		write(filepath.Join(bin, "token"), `#!/bin/sh
r=$(cat)
echo run >> '`+runs+`'
token=$(printf '%s' "$r" | sed -n 's/.*"serviceAccountToken":"\([^"]*\)".*/\1/p')
user=$(printf '%s' "$r" | sed -n 's/.*"example.com\/user":"\([^"]*\)".*/\1/p')
printf '{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse","cacheKeyType":"Image","cacheDuration":"0s","auth":{"`+host+`":{"username":"%s","password":"%s"}}}' "$user" "$token"
`)
		write(config, `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: token
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["`+host+`/accounts"]
  defaultCacheDuration: 1m
  tokenAttributes:
    serviceAccountTokenAudience: `+vaultAudience+`
    cacheType: Token
    requireServiceAccount: true
    requiredServiceAccountAnnotationKeys: [example.com/user]
`)
	}
}

// mayAskForTokens lets the node ask for tokens for the vault: by itself a node may only for audiences that its pods name.
func mayAskForTokens(t *testing.T, m *member) {
	t.Helper()
	name := "vault-of-" + m.name
	role := &rbac.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbac.PolicyRule{
		{Verbs: []string{"request-serviceaccounts-token-audience"}, APIGroups: []string{""}, Resources: []string{vaultAudience}},
	}}
	if _, err := m.api.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbac.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbac.Subject{{APIGroup: rbac.GroupName, Kind: rbac.UserKind, Name: "system:node:" + m.name}},
	}
	if _, err := m.api.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func failsToPull(p *v1.Pod) bool {
	return waitsFor("main", "ErrImagePull")(p) || waitsFor("main", "ImagePullBackOff")(p)
}

// Who may use an image that lies on the node because another pod has pulled it with its own login; also after the agent was
// killed, and without asking the registry (behaviours 163, 164, 344).
func TestWhoMayUseAnImage(t *testing.T) {
	t.Parallel()
	flags, runs, configure := tokenProvider(t)
	m := quietMember(t, controlplane.Shared(t), "", flags...)
	v := newVault(t, m)
	v.namespace = m.plane.Namespace(t)
	ns, elsewhere := v.namespace, m.plane.Namespace(t)
	configure(v.Host)
	mayAskForTokens(t, m)
	m.start(t)
	m.untilReady(t)
	secret, err := v.Push("testbox", "team/private", "v1")
	if err != nil {
		t.Fatal(err)
	}
	account, err := v.Push("busybox", "accounts/private", "v1")
	if err != nil {
		t.Fatal(err)
	}
	v.login(t, ns, "login")
	v.login(t, elsewhere, "copied")
	robot := &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot", Annotations: map[string]string{"example.com/user": "robot"}}}
	if _, err := m.api.CoreV1().ServiceAccounts(ns).Create(t.Context(), robot, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := func(ns, name, image, policy, more string) *guest {
		t.Helper()
		args := "[wait]"
		if image == account {
			args = "[sleep, '3600']"
		}
		return m.create(t, ns, name, fmt.Sprintf("spec: {terminationGracePeriodSeconds: 0, %s containers: [{name: main, args: %s, image: '%s', imagePullPolicy: %s}]}", more, args, image, policy))
	}
	const withLogin, withCopy, asRobot, present, never = "imagePullSecrets: [{name: login}],", "imagePullSecrets: [{name: copied}],", "serviceAccountName: robot,", "IfNotPresent", "Never"

	pod(ns, "owner", secret, present, withLogin).untilReady()
	pod(ns, "robot", account, present, asRobot).untilReady()
	stranger := pod(ns, "stranger", secret, present, "")
	without := pod(ns, "without", account, present, "")
	hopeful := pod(ns, "hopeful", secret, never, "")
	stranger.until("refused", failsToPull)
	p := without.until("refused", failsToPull)
	if s := apiStatus(p, "main").State.Waiting.Message; !strings.Contains(s, "lacks the annotation example.com/user") {
		t.Errorf("the status tells %q", s)
	}
	p = hopeful.until("refused", waitsFor("main", "ErrImageNeverPull"))
	if s := apiStatus(p, "main").State.Waiting.Message; !strings.Contains(s, "is present with pull policy of Never, but no login of the pod is known to have pulled it") {
		t.Errorf("the status tells %q", s)
	}
	for _, g := range []*guest{stranger, without, hopeful} {
		g.remove()
		g.untilGone()
	}

	m.kill(t)
	checkNoSecrets(t, m.root, vaultPassword)
	v.closed.Store(true)
	asked, ran := v.asked.Load(), len(holds(t, runs))
	m.start(t)
	for _, g := range []*guest{
		pod(ns, "same-secret", secret, present, withLogin), pod(elsewhere, "copied-secret", secret, never, withCopy), pod(ns, "same-account", account, never, asRobot),
	} {
		g.untilReady()
	}
	if v.asked.Load() != asked || len(holds(t, runs)) != ran {
		t.Errorf("the registry was asked %d times and the provider %d times", v.asked.Load()-asked, len(holds(t, runs))-ran)
	}
	pod(elsewhere, "still-strange", secret, present, "").until("refused", failsToPull)
	pod(elsewhere, "still-hopeful", secret, never, "").until("refused", waitsFor("main", "ErrImageNeverPull"))
}

// checkNoSecrets holds that no file of the agent has a secret in it.
func checkNoSecrets(t *testing.T, dir, secret string) {
	t.Helper()
	seen := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(path, ".db") {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), secret) {
			t.Errorf("the secret is in %s", path)
		}
		seen = seen || strings.Contains(string(text), "pulled sha256:")
		return err
	})
	if err != nil || !seen {
		t.Errorf("records of pulls seen: %v; %v", seen, err)
	}
}

// A login that comes long after the pod is used at once: the pause of the pull is forgotten (behaviour 156).
func TestLateLoginEndsThePause(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	v := newVault(t, m)
	ref, err := v.Push("testbox", "team/late", "v1")
	if err != nil {
		t.Fatal(err)
	}
	g := m.create(t, ns, "late", "spec: {imagePullSecrets: [{name: login}], containers: [{name: main, args: [wait], image: '"+ref+"'}]}")
	g.until("refused", failsToPull)
	first := v.asked.Load()
	eventually(t, func() error { // the second refusal, after 10 s, earns a pause of 20 s
		if v.asked.Load() == first {
			return errors.New("the registry has not been asked again")
		}
		return nil
	})
	began := time.Now()
	v.login(t, ns, "login")
	g.untilReady()
	took := time.Since(began)
	t.Logf("ready %v after the login is there", took)
	if took > 15*time.Second {
		t.Errorf("ready %v after the login is there: it waited for the end of the pause", took)
	}
}
