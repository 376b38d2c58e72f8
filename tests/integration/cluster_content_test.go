package integration

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// volume is the path of a file in a volume, seen from the node.
func (g *guest) volume(kind, name string, elem ...string) string {
	return filepath.Join(append([]string{g.root, "pods", g.uid, "volumes", "kubernetes.io~" + kind, name}, elem...)...)
}

// median is the middle one of some durations, and all of them in order.
func median(all []time.Duration) (time.Duration, []time.Duration) {
	slices.Sort(all)
	return all[len(all)/2], all
}

// soon waits for a file to hold a text, looking often, and returns how long it took.
func soon(t *testing.T, path, want string) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		data, err := os.ReadFile(path)
		if err == nil && string(data) == want {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			t.Fatalf("%s holds %q (%v), want %q", path, data, err, want)
		}
		<-time.After(time.Millisecond)
	}
}

// What volumes made from objects hold: chosen keys, modes, owners, several sources in one, what is optional and missing; whatever
// is secret is in memory only.
func TestVolumesOfObjects(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	m.configMap(t, ns, "settings", map[string]string{"a": "A\n", "b": "B\n", "c": "C\n"})
	m.secret(t, ns, "login", map[string][]byte{"word": []byte("hush\n")})
	g := m.create(t, ns, "volumes", `
spec:
  restartPolicy: Never
  securityContext: {fsGroup: 2345, runAsUser: 1000, runAsGroup: 1000}
  volumes:
  - {name: some, configMap: {name: settings, items: [{key: a, path: deep/er/a}, {key: b, path: b, mode: 0600}]}}
  - {name: whole, configMap: {name: settings, defaultMode: 0444}}
  - {name: login, secret: {secretName: login, defaultMode: 0400}}
  - {name: maybe, configMap: {name: nothing, optional: true}}
  - name: all
    projected:
      defaultMode: 0440
      sources:
      - configMap: {name: settings, items: [{key: c, path: from/map}]}
      - secret: {name: login, items: [{key: word, path: from/secret}]}
      - secret: {name: nothing, optional: true}
      - downwardAPI: {items: [{path: from/name, fieldRef: {fieldPath: metadata.name}}]}
  containers:
  - {name: main, image: SHELL, volumeMounts: [{name: some, mountPath: /some}, {name: whole, mountPath: /whole}, {name: login, mountPath: /login}, {name: maybe, mountPath: /maybe},
     {name: all, mountPath: /all}, {name: whole, mountPath: /single, subPath: c}], command: [sh, -c, '
       cat /some/deep/er/a /whole/c /login/word /single /all/from/map /all/from/secret; cat /all/from/name; echo;
       stat -L -c "%n %a %u:%g" /some/deep/er/a /some/b /whole/a /login/word /all/from/map /single;
       ls /maybe | wc -l; for d in some whole login all; do grep " /$d " /proc/mounts | cut -d" " -f2-4; done; touch /whole/new 2>&1']}
`)
	g.until("over", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
	said := g.says("main", 0)
	contains(t, "the container", said, "/some/deep/er/a 644 0:2345", "/some/b 640 0:2345", "/whole/a 444 0:2345", "/login/word 440 0:2345",
		"/all/from/map 440 0:2345", "/single 444 0:2345", "0", "volumes", "touch: /whole/new: Read-only file system")
	if !strings.HasPrefix(said, "A\nC\nhush\nC\nC\nhush\n") {
		t.Errorf("the files hold:\n%s", said)
	}
	if !strings.Contains(said, "/login tmpfs ro") || !strings.Contains(said, "/all tmpfs ro") {
		t.Errorf("secrets are not in memory:\n%s", said)
	}
}

// A change of a ConfigMap or Secret is in the volume in less than a second, in one step, and only where it changed; who mounted
// a single file of it keeps that file.
func TestVolumesFollowTheirObjects(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	m.configMap(t, ns, "settings", map[string]string{"v": "0"})
	m.secret(t, ns, "login", map[string][]byte{"v": []byte("0")})
	g := m.create(t, ns, "follower", `
spec:
  volumes: [{name: c, configMap: {name: settings}}, {name: s, secret: {secretName: login}}, {name: late, configMap: {name: late, optional: true}},
    {name: d, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: note, fieldRef: {fieldPath: "metadata.annotations['note']"}}]}}]
  containers:
  - {name: main, image: SHELL, command: [sleep, "3600"], volumeMounts: [{name: c, mountPath: /c}, {name: s, mountPath: /s}, {name: c, mountPath: /single, subPath: v}, {name: d, mountPath: /d}]}
`)
	g.untilReady()
	var maps, secrets, labels []time.Duration
	for i := 1; i <= 5; i++ {
		value := fmt.Sprint(i)
		m.configMap(t, ns, "settings", map[string]string{"v": value})
		maps = append(maps, soon(t, g.volume("configmap", "c", "v"), value))
		patch := `{"data":{"v":"` + base64.StdEncoding.EncodeToString([]byte(value)) + `"}}`
		if _, err := m.api.CoreV1().Secrets(ns).Patch(t.Context(), "login", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, soon(t, g.volume("secret", "s", "v"), value))
		patch = `{"metadata":{"labels":{"v":"` + value + `"},"annotations":{"note":"` + value + `"}}}`
		if _, err := m.api.CoreV1().Pods(ns).Patch(t.Context(), "follower", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		labels = append(labels, soon(t, g.volume("downward-api", "d", "labels"), `v="`+value+`"`))
		soon(t, g.volume("downward-api", "d", "note"), value)
	}
	m.configMap(t, ns, "late", map[string]string{"v": "here"})
	late := soon(t, g.volume("configmap", "late", "v"), "here")
	for what, all := range map[string][]time.Duration{"ConfigMap": maps, "Secret": secrets, "label": labels} {
		middle, all := median(all)
		t.Logf("a new %s is in the volume after %v (%v)", what, middle, all)
		if middle > time.Second {
			t.Errorf("a new %s is in the volume after %v, want less than a second", what, middle)
		}
	}
	t.Logf("an optional ConfigMap that appears is in the volume after %v", late)
	same(t, "what the container sees", m.kubectl(t, ns, "exec", "follower", "--", "sh", "-c", "cat /c/v /s/v /single"), "550")
}

// A pod whose ConfigMap or Secret does not exist waits, says so, and starts within a second of its appearance.
func TestMissingObjectsAppear(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	volume := m.create(t, ns, "volume", `
spec: {volumes: [{name: c, configMap: {name: late}}], containers: [{name: main, image: BOX, volumeMounts: [{name: c, mountPath: /c}]}]}`)
	env := m.create(t, ns, "env", `
spec: {containers: [{name: main, image: BOX, env: [{name: X, valueFrom: {secretKeyRef: {name: late, key: x}}}]}]}`)
	from := m.create(t, ns, "from", `
spec: {containers: [{name: main, image: BOX, envFrom: [{configMapRef: {name: later}}]}]}`)
	volume.until("waiting", waitsFor("main", "ContainerCreating"))
	p := env.until("waiting", waitsFor("main", "CreateContainerConfigError"))
	same(t, "why", apiStatus(p, "main").State.Waiting.Message, `secret "late" not found`)
	p = from.until("waiting", waitsFor("main", "CreateContainerConfigError"))
	same(t, "why", apiStatus(p, "main").State.Waiting.Message, `configmap "later" not found`)
	eventually(t, func() error {
		return containsAll(m.kubectl(t, ns, "get", "events", "-o", "jsonpath={range .items[*]}{.involvedObject.name} {.reason}: {.message}\n{end}"),
			`volume FailedMount: MountVolume.SetUp failed for volume "c" : configmap "late" not found`, `env Failed: Error: secret "late" not found`)
	})
	var ready, made []time.Duration
	for g, appear := range map[*guest]func(){
		volume: func() { m.configMap(t, ns, "late", map[string]string{"x": "1"}) },
		env:    func() { m.secret(t, ns, "late", map[string][]byte{"x": []byte("1")}) },
		from:   func() { m.configMap(t, ns, "later", map[string]string{"x": "1"}) },
	} {
		began := time.Now()
		appear()
		g.untilReady()
		ready = append(ready, time.Since(began))
		container, err := g.runtime.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: g.containerID("main")})
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, time.Unix(0, container.Status.CreatedAt).Sub(began))
	}
	t.Logf("containers are made %v and pods ready %v after what they lacked is there", made, ready)
	if slices.Min(made) > time.Second { // the best of them: the machine may be busy
		t.Errorf("containers are made %v after what they lacked is there, want less than a second", made)
	}
}

// A Secret may be as large as the API server takes.
func TestLargeSecret(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i * 7)
	}
	m.secret(t, ns, "large", map[string][]byte{"data": data})
	g := m.create(t, ns, "strong", `
spec: {volumes: [{name: s, secret: {secretName: large}}], containers: [{name: main, image: BOX, volumeMounts: [{name: s, mountPath: /s}]}]}`)
	g.untilReady()
	if got, err := os.ReadFile(g.volume("secret", "s", "data")); err != nil || string(got) != string(data) {
		t.Errorf("%d bytes (%v), want %d", len(got), err, len(data))
	}
}

// An object that cannot change is not watched any longer (behaviour 322).
func TestImmutableObjectsAreNotWatched(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	object := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "fixed"}, Immutable: new(true), Data: map[string]string{"x": "y"}}
	if _, err := m.api.CoreV1().ConfigMaps(ns).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	g := m.create(t, ns, "content", `
spec: {volumes: [{name: c, configMap: {name: fixed}}], containers: [{name: main, image: BOX, volumeMounts: [{name: c, mountPath: /c}]}]}`)
	g.untilReady()
	untilHolds(t, g.volume("configmap", "c", "x"), "y")
	eventually(t, func() error {
		requests, err := m.plane.Requests("system:node:"+m.name, time.Time{})
		if err != nil {
			return err
		}
		for _, r := range requests {
			if o := r.ObjectRef; r.Verb == "watch" && o != nil && o.Resource == "configmaps" && o.Namespace == ns && strings.Contains(r.RequestURI, "fixed") {
				return nil // it is over
			}
		}
		return errors.New("the ConfigMap is still watched")
	})
}

// The token that every pod gets is good at the API server, belongs to the pod, and is as long valid as asked; with it go the
// authority's certificate and the namespace.
func TestAccountTokens(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	g := m.create(t, ns, "account", `
spec:
  volumes: [{name: own, projected: {sources: [{serviceAccountToken: {path: short, expirationSeconds: 600, audience: vault}}]}}]
  containers: [{name: main, image: SHELL, command: [sleep, "3600"], volumeMounts: [{name: own, mountPath: /own}]}]
`)
	g.untilReady()
	inside := func(path string) string { return m.kubectl(t, ns, "exec", "account", "--", "cat", path) }
	const dir = "/var/run/secrets/kubernetes.io/serviceaccount/"
	token := inside(dir + "token")
	same(t, "namespace", inside(dir+"namespace"), ns)
	config := &rest.Config{Host: m.plane.URL, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: []byte(inside(dir + "ca.crt"))}}
	account, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	me, err := account.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authentication.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "who the token is", me.Status.UserInfo.Username, "system:serviceaccount:"+ns+":default")
	same(t, "whose it is", fmt.Sprint(me.Status.UserInfo.Extra["authentication.kubernetes.io/pod-uid"]), "["+g.uid+"]")

	short := inside("/own/short")
	review := &authentication.TokenReview{Spec: authentication.TokenReviewSpec{Token: short, Audiences: []string{"vault"}}}
	if review, err = m.api.AuthenticationV1().TokenReviews().Create(t.Context(), review, metav1.CreateOptions{}); err != nil || !review.Status.Authenticated {
		t.Errorf("the token with an audience is not good: %+v %v", review.Status, err)
	}
	for name, want := range map[string]time.Duration{short: 600 * time.Second, token: 3607 * time.Second} {
		claims := claimsOf(t, name)
		got := time.Duration(claims.Expires-claims.Issued) * time.Second
		// The API server gives more time to tokens of kube-api-access, for programs that never read them anew.
		if got < want || got == want && claims.Warn != 0 && claims.Warn-claims.Issued != int64(want/time.Second) {
			t.Errorf("a token is valid for %v, want %v", got, want)
		}
	}
}

type claims struct {
	Issued     int64 `json:"iat"`
	Expires    int64 `json:"exp"`
	Kubernetes struct {
		Warn int64 `json:"warnafter"`
	} `json:"kubernetes.io"`
	Warn int64 `json:"-"`
}

// claimsOf reads what a token says.
func claimsOf(t *testing.T, token string) claims {
	t.Helper()
	var c claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a token: %d parts", len(parts))
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Warn = c.Kubernetes.Warn
	return c
}
