package content_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/fault"
)

// podOf is a pod with these volumes, and a container app with a cpu limit.
func podOf(t *testing.T, volumes string) *v1.Pod {
	t.Helper()
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u-1",
		Labels: map[string]string{"app": "web", "tier": "a \"b\"\nc"}}}
	if err := yaml.UnmarshalStrict([]byte(volumes), &p.Spec.Volumes); err != nil {
		t.Fatalf("volumes: %v", err)
	}
	p.Spec.Containers = []v1.Container{{Name: "app"}}
	return p
}

func facts() content.Facts {
	return content.Facts{
		Facts: environ.Facts{
			Allocatable: v1.ResourceList{"cpu": resource.MustParse("3900m")},
			ConfigMaps: map[string]*v1.ConfigMap{
				"conf": {Data: map[string]string{"a.txt": "A", "b": "B"}, BinaryData: map[string][]byte{"bin": {0, 255}}},
				"bad":  {Data: map[string]string{"../../etc/passwd": "x"}},
			},
			Secrets: map[string]*v1.Secret{"pass": {Data: map[string][]byte{"user": []byte("root"), "word": []byte("hush")}}},
		},
		Tokens: map[content.Token]string{
			{Account: "default", Seconds: 3600}:                   "token-1",
			{Account: "default", Audience: "vault", Seconds: 600}: "token-2",
		},
	}
}

// show writes files as "path mode[:uid] data", sorted.
func show(files content.Files) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		owner := ""
		if f.UID != nil {
			owner = fmt.Sprint(":", *f.UID)
		}
		out = append(out, fmt.Sprintf("%s %04o%s %q", name, f.Mode, owner, f.Data))
	}
	return strings.Join(out, "\n")
}

func TestOf(t *testing.T) {
	for _, c := range []struct{ name, volume, want string }{
		{"config map", "configMap: {name: conf}", `a.txt 0644 "A"
b 0644 "B"
bin 0644 "\x00\xff"`},
		{"items", "configMap: {name: conf, defaultMode: 0o440, items: [{key: a.txt, path: x/y/a}, {key: bin, path: bin, mode: 0o400}]}", `bin 0400 "\x00\xff"
x/y/a 0440 "A"`},
		{"one key under two paths", "secret: {secretName: pass, items: [{key: word, path: one}, {key: word, path: two}]}", `one 0644 "hush"
two 0644 "hush"`},
		{"odd path", "configMap: {name: conf, items: [{key: b, path: ./x//b}]}", `x/b 0644 "B"`},
		{"no permission at all", "secret: {secretName: pass, defaultMode: 0}", `user 0000 "root"
word 0000 "hush"`},
		{"optional object", "configMap: {name: none, optional: true}", ``},
		{"optional secret", "secret: {secretName: none, optional: true}", ``},
		{"optional key", "secret: {secretName: pass, optional: true, items: [{key: none, path: no-such}, {key: user, path: u}]}", `u 0644 "root"`},
		{"owners", "secret: {secretName: pass, defaultUser: 5, items: [{key: user, path: u, user: 7}, {key: word, path: w}]}", `u 0644:7 "root"
w 0644:5 "hush"`},
		{"downward", `downwardAPI: {defaultMode: 0o400, items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}, {path: m/name, fieldRef: {fieldPath: metadata.name}, mode: 0o444},
 {path: cpu, resourceFieldRef: {containerName: app, resource: limits.cpu, divisor: 1m}}]}`, `cpu 0400 "3900"
labels 0400 "app=\"web\"\ntier=\"a \\\"b\\\"\\nc\""
m/name 0444 "web"`},
		{"projected, later holds", `projected: {defaultMode: 0o600, sources: [{configMap: {name: conf}}, {secret: {name: pass, items: [{key: word, path: b}]}},
 {downwardAPI: {items: [{path: ns, fieldRef: {fieldPath: metadata.namespace}}]}}, {serviceAccountToken: {path: token}}, {configMap: {name: none, optional: true}}]}`, `a.txt 0600 "A"
b 0600 "hush"
bin 0600 "\x00\xff"
ns 0600 "shop"
token 0600 "token-1"`},
		{"tokens", `projected: {sources: [{serviceAccountToken: {path: a/token}}, {serviceAccountToken: {path: vault, audience: vault, expirationSeconds: 600}}]}`, `a/token 0644 "token-1"
vault 0644 "token-2"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := podOf(t, "[{name: first, emptyDir: {}}, {name: v, "+c.volume+"}]")
			files, err := content.Of(p, &p.Spec.Volumes[1], facts())
			if got := show(files); err != nil || got != c.want {
				t.Errorf("got %v\n%s\nwant\n%s", err, got, c.want)
			}
		})
	}
}

func TestOfErrors(t *testing.T) {
	for _, c := range []struct{ name, volume, want string }{
		{"no config map", "configMap: {name: none}", `configmap "none" not found`},
		{"no secret", "secret: {secretName: none}", `secret "none" not found`},
		{"no key", "configMap: {name: conf, items: [{key: k, path: k}]}", `configmap references non-existent config key: k`},
		{"no secret key", "secret: {secretName: pass, items: [{key: k, path: k}]}", `references non-existent secret key: k`},
		{"all that lacks", "projected: {sources: [{configMap: {name: a}}, {secret: {name: b}}, {secret: {name: b}}, {secret: {name: pass}}]}",
			`[configmap "a" not found, secret "b" not found]`},
		{"the same twice", "projected: {sources: [{configMap: {name: a}}, {configMap: {name: a}}]}", `configmap "a" not found`},
		{"bad key", "configMap: {name: bad}", `spec.volumes[0].configMap: path "../../etc/passwd": must not begin with '..'`},
		{"absolute", "configMap: {name: conf, items: [{key: b, path: /etc/b}]}", `spec.volumes[0].configMap: path "/etc/b": must be a clean relative path`},
		{"file and directory", "configMap: {name: conf, items: [{key: b, path: x}, {key: bin, path: x/y}]}", `spec.volumes[0].configMap: path "x/y": "x" is a file already`},
		{"field", "downwardAPI: {items: [{path: x, fieldRef: {fieldPath: spec.secrets}}]}", `spec.volumes[0].downwardAPI.items[0]: unsupported fieldPath: spec.secrets`},
		{"no field", "downwardAPI: {items: [{path: x}]}", `spec.volumes[0].downwardAPI.items[0]: must have fieldRef or resourceFieldRef`},
		{"field in projected", "projected: {sources: [{secret: {name: pass}}, {downwardAPI: {items: [{path: x}]}}]}", `spec.volumes[0].projected.sources[1].downwardAPI.items[0]: must have`},
		{"token", "projected: {sources: [{serviceAccountToken: {path: t, audience: other}}]}", `failed to fetch token: there is none of service account shop/default yet`},
		{"nothing", "projected: {sources: [{}]}", `spec.volumes[0].projected.sources[0]: must name a source`},
		{"bundle of nobody", "projected: {sources: [{clusterTrustBundle: {path: ca}}]}", `spec.volumes[0].projected.sources[0].clusterTrustBundle: must have name or signerName`},
		{"other kind", "emptyDir: {}", `volume "v" is not made of files the agent writes`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := podOf(t, "[{name: v, "+c.volume+"}]")
			files, err := content.Of(p, &p.Spec.Volumes[0], facts())
			if err == nil || files != nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Fatalf("got %v, %v\nwant %s", files, err, c.want)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Error("the error shows a secret")
			}
			var lacks *environ.Missing
			if is, want := errors.As(err, &lacks), strings.Contains(c.want, "not found") || strings.Contains(c.want, "non-existent"); is != want {
				t.Errorf("is Missing: %v, want %v", is, want)
			}
			if lacks != nil && lacks.Namespace != "shop" {
				t.Errorf("missing %+v", lacks)
			}
		})
	}
}

// Behaviour 182.
func TestPodCertificates(t *testing.T) {
	p := podOf(t, `[{name: v, projected: {sources: [
	  {configMap: {name: conf, items: [{key: b, path: b}]}},
	  {podCertificate: {signerName: x/y, keyType: ED25519, credentialBundlePath: both.pem, keyPath: tls/key.pem, certificateChainPath: tls/chain.pem}}]}}]`)
	v := &p.Spec.Volumes[0]
	of := content.Certificate{Volume: "v", Source: 1}
	if got := content.NeedsOf(p).Certificates; !slices.Equal(got, []content.Certificate{of}) {
		t.Errorf("needs %v", got)
	}
	if s := content.CertificateSource(p, of); s == nil || s.SignerName != "x/y" {
		t.Errorf("the source is %v", s)
	}
	for _, other := range []content.Certificate{{Volume: "v"}, {Volume: "v", Source: 2}, {Volume: "w", Source: 1}} {
		if s := content.CertificateSource(p, other); s != nil {
			t.Errorf("the source of %v is %v", other, s)
		}
	}
	f := facts()
	if _, err := content.Of(p, v, f); err == nil || !strings.Contains(err.Error(), `sources[1].podCertificate: there is no certificate of signer "x/y" yet`) {
		t.Errorf("without one: %v", err)
	}
	f.Certificates = map[content.Certificate]content.Credential{of: {Key: []byte("KEY;"), Chain: []byte("CHAIN;")}}
	want := strings.Join([]string{`b 0644 "B"`, `both.pem 0644 "KEY;CHAIN;"`, `tls/chain.pem 0644 "CHAIN;"`, `tls/key.pem 0644 "KEY;"`}, "\n")
	files, err := content.Of(p, v, f)
	if got := show(files); err != nil || got != want {
		t.Errorf("got %v %v\nwant %v", got, err, want)
	}
	user := int64(1000)
	p.Spec.SecurityContext = &v1.PodSecurityContext{RunAsUser: &user}
	files, err = content.Of(p, v, f)
	if k := files["tls/key.pem"]; err != nil || k.Mode != 0o600 || k.UID == nil || *k.UID != user {
		t.Errorf("the key of one user is %v %v %v", k.Mode, k.UID, err)
	}
	f.NoCertificates = true
	_, err = content.Of(p, v, f)
	if !errors.Is(err, fault.ErrUnsupported) || !strings.HasPrefix(err.Error(), "spec.volumes[0].projected.sources[1].podCertificate is not supported while the feature gate") {
		t.Errorf("with the gate off: %v", err)
	}
}

func TestBareChain(t *testing.T) {
	const one = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n"
	for name, c := range map[string]struct{ text, want, wrong string }{
		"plain":          {text: one + one, want: one + one},
		"text between":   {text: "leaf:\n" + one + "\nintermediate\n" + one + "end", want: one + one},
		"headers":        {text: "-----BEGIN CERTIFICATE-----\nSubject: x\n\nAAEC\n-----END CERTIFICATE-----\n", want: one},
		"empty":          {wrong: "no certificate"},
		"something else": {text: one + "-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n", wrong: "must be CERTIFICATE"},
	} {
		got, err := content.BareChain([]byte(c.text))
		if string(got) != c.want || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// Behaviour 181: who may read a token.
func TestTokenOwner(t *testing.T) {
	const volume = "[{name: v, projected: {defaultMode: 0o644, sources: [{serviceAccountToken: {path: token}}, {configMap: {name: conf, items: [{key: b, path: b}]}}]}}]"
	user := func(id int64) *v1.SecurityContext { return &v1.SecurityContext{RunAsUser: &id} }
	pod := func(id int64) *v1.PodSecurityContext { return &v1.PodSecurityContext{RunAsUser: &id} }
	group := int64(3000)
	for name, c := range map[string]struct {
		edit func(*v1.Pod)
		want string
	}{
		"nobody says":      {func(*v1.Pod) {}, `token 0644 "token-1"`},
		"all say the same": {func(p *v1.Pod) { p.Spec.Containers[0].SecurityContext = user(1000) }, `token 0600:1000 "token-1"`},
		"the pod says":     {func(p *v1.Pod) { p.Spec.SecurityContext = pod(1000) }, `token 0600:1000 "token-1"`},
		"root":             {func(p *v1.Pod) { p.Spec.SecurityContext = pod(0) }, `token 0600:0 "token-1"`},
		"one is silent": {func(p *v1.Pod) {
			p.Spec.Containers[0].SecurityContext = user(1000)
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: "side"})
		}, `token 0644 "token-1"`},
		"the first is silent": {func(p *v1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, v1.Container{Name: "side", SecurityContext: user(1000)})
		}, `token 0644 "token-1"`},
		"an init container differs": {func(p *v1.Pod) {
			p.Spec.SecurityContext = pod(1000)
			p.Spec.InitContainers = []v1.Container{{Name: "init", SecurityContext: user(2000)}}
		}, `token 0644 "token-1"`},
		"an ephemeral container differs": {func(p *v1.Pod) {
			p.Spec.SecurityContext = pod(1000)
			p.Spec.EphemeralContainers = []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: "e", SecurityContext: user(0)}}}
		}, `token 0644 "token-1"`},
		"group": {func(p *v1.Pod) { p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: &group} }, `token 0600 "token-1"`},
		"user and group": {func(p *v1.Pod) {
			p.Spec.SecurityContext = pod(1000)
			p.Spec.SecurityContext.FSGroup = &group
		}, `token 0600:1000 "token-1"`},
	} {
		t.Run(name, func(t *testing.T) {
			p := podOf(t, volume)
			c.edit(p)
			files, err := content.Of(p, &p.Spec.Volumes[0], facts())
			if got, want := show(files), `b 0644 "B"`+"\n"+c.want; err != nil || got != want {
				t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	one := func(paths ...string) content.Files {
		f := content.Files{}
		for _, p := range paths {
			f[p] = content.File{}
		}
		return f
	}
	for _, bad := range []content.Files{
		one("../x"), one("/x"), one("..data"), one("a/../../b"), one("a", "a/b"), one(""), one("."), one("a\x00"), one("a//b"), one("a/"),
	} {
		if bad.Check() == nil {
			t.Errorf("%v passed", bad)
		}
	}
	if err := one("a", "b/c", "b/d/..e", "x..y").Check(); err != nil {
		t.Error(err)
	}
}

// FuzzPaths holds that whatever keys and paths an object or a pod names, files stay in their volume.
func FuzzPaths(f *testing.F) {
	for _, seed := range [][2]string{{"a", "b"}, {"../x", "/etc"}, {"..data", "a/../.."}, {"a/b", "a"}, {"", "."}, {"a\x00", "./..x"}, {"x/..", "\xff"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, key, path string) {
		p := &v1.Pod{}
		p.Spec.Volumes = []v1.Volume{{Name: "v", VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
			{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: "m"}}},
			{Secret: &v1.SecretProjection{LocalObjectReference: v1.LocalObjectReference{Name: "s"}, Items: []v1.KeyToPath{{Key: "k", Path: path}}}},
		}}}}}
		var facts content.Facts
		facts.ConfigMaps = map[string]*v1.ConfigMap{"m": {Data: map[string]string{key: "1"}}}
		facts.Secrets = map[string]*v1.Secret{"s": {Data: map[string][]byte{"k": []byte("2")}}}
		files, err := content.Of(p, &p.Spec.Volumes[0], facts)
		if err != nil {
			return
		}
		for name := range files {
			if !fs.ValidPath(name) && !strings.ContainsFunc(name, func(r rune) bool { return r == '\uFFFD' }) || strings.HasPrefix(name, "..") || name == "." {
				t.Errorf("key %q and path %q make the file %q", key, path, name)
			}
		}
	})
}
