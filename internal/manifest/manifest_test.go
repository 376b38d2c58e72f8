package manifest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
)

const web = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: app, image: nginx}\n"

func static(t *testing.T, text string, from From) *v1.Pod {
	t.Helper()
	pods, err := Read([]byte(text), from)
	if err != nil || len(pods) != 1 {
		t.Fatalf("Read: %d pods, %v; want 1, nil", len(pods), err)
	}
	return pods[0]
}

func TestIdentityFollowsContentNodeAndOrigin(t *testing.T) {
	from := From{Source: pod.FromFile, Origin: "/m/a.yaml", NodeName: "n1"}
	uid := static(t, web, from).UID
	if len(uid) != 32 {
		t.Errorf("UID %q: want 32 hex digits", uid)
	}
	later := from
	later.Seen = time.Unix(5, 0)
	same := map[string]string{
		"json":             `{"kind":"Pod","apiVersion":"v1","spec":{"containers":[{"image":"nginx","name":"app"}]},"metadata":{"name":"web"}}`,
		"comments":         "# hello\n" + web,
		"status":           web + "status: {phase: Running}\n",
		"server fields":    strings.Replace(web, "{name: web}", `{name: web, resourceVersion: "7", creationTimestamp: null}`, 1),
		"agent annotation": strings.Replace(web, "{name: web}", "{name: web, annotations: {kubernetes.io/config.hash: x}}", 1),
	}
	for name, text := range same {
		if got := static(t, text, later).UID; got != uid {
			t.Errorf("%s changed the UID from %s to %s: want the same", name, uid, got)
		}
	}
	node, origin := from, from
	node.NodeName, origin.Origin = "n2", "/m/b.yaml"
	other := map[string]*v1.Pod{
		"content": static(t, strings.Replace(web, "nginx", "httpd", 1), from),
		"label":   static(t, strings.Replace(web, "{name: web}", "{name: web, labels: {a: b}}", 1), from),
		"node":    static(t, web, node),
		"origin":  static(t, web, origin),
	}
	for name, p := range other {
		if p.UID == uid {
			t.Errorf("another %s gives the same UID", name)
		}
	}
}

func TestNodeSuffixIsLowerCase(t *testing.T) {
	docs, _, err := documents([]byte(web), "a.yaml", false)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := Static(docs[0].Pod, From{NodeName: "Node-A"})
	if p.Name != "web-node-a" {
		t.Errorf("name %q: want web-node-a", p.Name)
	}
	if docs[0].Pod.Name != "web" || docs[0].Pod.Spec.DNSPolicy != "" {
		t.Error("Static changed the pod it was given")
	}
}

func TestReferenceFaultsSayWhatIsReferred(t *testing.T) {
	text := web + "  volumes: [{name: c, configMap: {name: x}}, {name: s, secret: {secretName: x}}]\n"
	_, err := Read([]byte(text), From{Origin: "a", NodeName: "n"})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v: want *Error", err)
	}
	got := map[string]string{}
	for _, f := range e.Faults {
		got[f.Field] = f.Refers
	}
	want := map[string]string{"spec.volumes[0].configMap": "ConfigMaps", "spec.volumes[1].secret": "Secrets"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestTooLong(t *testing.T) {
	_, _, err := documents(make([]byte, MaxBytes+1), "big.yaml", false)
	if want := "big.yaml: is longer than the 10 MiB that a manifest may have"; err == nil || err.Error() != want {
		t.Errorf("error %v: want %s", err, want)
	}
}

func TestManyAliasesEnd(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		n := string(rune('a' + i))
		last := "a0"
		if i > 1 {
			last = string(rune('a' + i - 1))
		}
		b.WriteString(n + ": &" + n + " [" + strings.Repeat("*"+last+", ", 9) + "*" + last + "]\n")
	}
	if _, _, err := documents([]byte(b.String()), "bomb", false); err == nil || !strings.Contains(err.Error(), "alias") {
		t.Errorf("error %.200v: want one about aliasing", err)
	}
}

// TestHugeNumbersEnd is about numbers that would keep the parser of quantities busy for hours.
func TestHugeNumbersEnd(t *testing.T) {
	for _, q := range []string{"1e99", "1e9999", "1e99999999", "1e-99999999", "99999999999999999999999999E99999", "0.5e-5000000", strings.Repeat("9", 100000)} {
		for _, quote := range []string{"", "'"} {
			text := strings.Replace(web, "image: nginx", "image: nginx, resources: {limits: {cpu: "+quote+q+quote+"}}", 1)
			pods, err := Read([]byte(text), From{NodeName: "n"})
			rounded := quote == "" && strings.Contains(q, "e-") // YAML has made it 0 already
			if err == nil && (q != "1e99" && !rounded || len(pods) != 1) {
				t.Errorf("%.30s: want an error", quote+q)
			}
		}
		text := `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x"},"spec":{"containers":[{"name":"a","image":"b","resources":{"limits":{"cpu":` + q + `}}}]}}`
		if _, err := Read([]byte(text), From{NodeName: "n"}); err == nil && q != "1e99" {
			t.Errorf("%.30s as a number of JSON: want an error", q)
		}
	}
	// The same letters elsewhere are harmless.
	if _, err := Read([]byte(strings.Replace(web, "nginx", "nginx:1e99999999", 1)), From{NodeName: "n"}); err != nil {
		t.Error(err)
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	text := strings.Replace(web, "image: nginx", "image: nginx, args: [424242], env: [{name: PIN, value: 424242}]", 1)
	_, _, err := documents([]byte(text), "a", false)
	if err == nil || strings.Contains(err.Error(), "424242") {
		t.Errorf("error %v: want one without the value", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", web, web + "---\n" + web, `{"kind":"List","apiVersion":"v1","items":[{}]}`, "kind: PodList\napiVersion: v1\nitems: [{metadata: {name: x}}]",
		"a: &a [*a]", "%YAML 1.2\n---\n...\n---", "\xff\xfe", "{\"a\":1}{", "- \t\n", "? a\n: b\n", "kind: Pod\napiVersion: v1\nspec: {containers: [{resources: {limits: {cpu: 1e99}}}]}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		from := From{Source: pod.FromFile, Origin: "fuzz", NodeName: "n"}
		docs, _, err := documents(data, "fuzz", false)
		if err != nil {
			checkError(t, err)
			return
		}
		for _, d := range docs {
			if d.Pod == nil {
				t.Fatal("a nil pod")
			}
		}
		one, err := Read(data, from)
		if err != nil {
			checkError(t, err)
			return
		}
		two, _ := Read(data, from)
		if d := cmp.Diff(one, two); d != "" {
			t.Fatalf("read twice, not the same: %s", d)
		}
		for _, p := range one {
			if p.Name == "" || p.Namespace == "" || !safeUID.MatchString(string(p.UID)) || len(p.Spec.Containers) == 0 {
				t.Fatalf("a pod without name, namespace, UID or containers: %+v", p)
			}
			again := p.DeepCopy()
			Default(again)
			if d := cmp.Diff(p, again); d != "" {
				t.Fatalf("defaulted twice is not the same: %s", d)
			}
		}
	})
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || len(e.Faults) == 0 {
		t.Fatalf("error %v: want an *Error with faults", err)
	}
	for _, f := range e.Faults {
		if f.Message == "" || f.Line < 0 {
			t.Fatalf("fault %+v: want a message, and no negative line", f)
		}
	}
}

// FuzzLocal: whatever a manifest of a lone node holds, what comes out can be used, and nothing of a Secret is in a message.
func FuzzLocal(f *testing.F) {
	for _, seed := range []string{web, "kind: Secret\napiVersion: v1\nmetadata: {name: s}\nstringData: {a: b}", "kind: ConfigMap\napiVersion: v1\nmetadata: {name: s}\ndata: {a: b}\n---\nkind: Job",
		`{"kind":"List","apiVersion":"v1","items":[{"kind":"Secret","apiVersion":"v1","type":"kubernetes.io/dockercfg","data":{".dockercfg":" "}}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ReadAll(data, From{Source: pod.FromFile, Origin: "fuzz", NodeName: "n", Objects: true})
		if err != nil {
			checkError(t, err)
			return
		}
		for _, m := range c.ConfigMaps {
			if m.Name == "" || m.Namespace == "" || len(ConfigMap(m)) > 0 {
				t.Fatalf("a ConfigMap that cannot be used: %+v", m)
			}
		}
		for _, s := range c.Secrets {
			if s.Name == "" || s.Namespace == "" || s.Type == "" || len(Secret(s)) > 0 {
				t.Fatalf("a Secret that cannot be used: %s/%s", s.Namespace, s.Name)
			}
		}
	})
}
