package content_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/content"
)

func TestNeedsOf(t *testing.T) {
	p := &v1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(`
serviceAccountName: robot
runtimeClassName: kata
imagePullSecrets: [{name: reg2}, {name: reg1}, {name: reg1}, {}]
volumes:
- {name: a, configMap: {name: cm-volume}}
- {name: b, secret: {secretName: s-volume}}
- {name: c, emptyDir: {}}
- name: d
  projected:
    sources:
    - configMap: {name: cm-projected}
    - secret: {name: s-projected}
    - serviceAccountToken: {path: t}
    - serviceAccountToken: {path: t2}
    - serviceAccountToken: {path: u, audience: vault, expirationSeconds: 600}
    - clusterTrustBundle: {path: ca, name: x}
    - downwardAPI: {}
containers:
- name: app
  env:
  - {name: A, valueFrom: {configMapKeyRef: {name: cm-env, key: k}}}
  - {name: B, valueFrom: {secretKeyRef: {name: s-env, key: k}}}
  - {name: C, value: c}
initContainers:
- {name: init, envFrom: [{configMapRef: {name: cm-init}}, {secretRef: {name: s-volume}}]}
ephemeralContainers:
- {name: debug, envFrom: [{configMapRef: {name: cm-debug}}]}
`), &p.Spec); err != nil {
		t.Fatal(err)
	}
	want := content.Needs{
		ConfigMaps:  []string{"cm-debug", "cm-env", "cm-init", "cm-projected", "cm-volume"},
		Secrets:     []string{"s-env", "s-projected", "s-volume"},
		PullSecrets: []string{"reg1", "reg2"},
		Tokens: []content.Token{
			{Account: "robot", Seconds: 3600},
			{Account: "robot", Audience: "vault", Seconds: 600},
		},
		TrustBundles: true, Services: true, RuntimeClass: "kata",
	}
	if diff := cmp.Diff(want, content.NeedsOf(p)); diff != "" {
		t.Error(diff)
	}
	want = content.Needs{Secrets: []string{"s-volume"}}
	if diff := cmp.Diff(want, content.NeedsOfVolume(p, &p.Spec.Volumes[1])); diff != "" {
		t.Error(diff)
	}
	for i, live := range []bool{true, true, false, true} {
		if content.Live(&p.Spec.Volumes[i]) != live {
			t.Errorf("volume %s: live %v", p.Spec.Volumes[i].Name, !live)
		}
	}
}

func TestMark(t *testing.T) {
	const labels, cpu = "{path: l, fieldRef: {fieldPath: metadata.labels}}", "{path: c, resourceFieldRef: {containerName: app, resource: limits.cpu}}"
	relabel := func(p *v1.Pod) { p.Labels["app"] = "new" }
	annotate := func(p *v1.Pod) { p.Annotations = map[string]string{"a": "b"} }
	resize := func(p *v1.Pod) {
		p.Spec.Containers[0].Resources.Limits = v1.ResourceList{"cpu": resource.MustParse("2")}
	}
	for name, c := range map[string]struct {
		volume          string
		edit            func(*v1.Pod)
		marked, changes bool
	}{
		"labels":             {"downwardAPI: {items: [" + labels + "]}", relabel, true, true},
		"annotations":        {"projected: {sources: [{secret: {name: x}}, {downwardAPI: {items: [" + labels + "]}}]}", annotate, true, true},
		"resources":          {"downwardAPI: {items: [" + cpu + "]}", resize, true, true},
		"resources unshown":  {"downwardAPI: {items: [" + labels + "]}", resize, true, false},
		"something else":     {"downwardAPI: {items: [" + labels + "]}", func(p *v1.Pod) { p.ResourceVersion = "7" }, true, false},
		"config map":         {"configMap: {name: x}", relabel, false, false},
		"projected of other": {"projected: {sources: [{secret: {name: x}}]}", relabel, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := podOf(t, "[{name: v, "+c.volume+"}]")
			before := content.Mark(p, &p.Spec.Volumes[0])
			c.edit(p)
			if after := content.Mark(p, &p.Spec.Volumes[0]); (before != 0) != c.marked || (after != before) != c.changes {
				t.Errorf("%x, then %x", before, after)
			}
		})
	}
}
