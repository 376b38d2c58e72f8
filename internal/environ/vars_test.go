package environ_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/environ"
)

func podOf(t *testing.T, spec string) *v1.Pod {
	t.Helper()
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u-1",
		Labels: map[string]string{"app": "web", "tier/x": "1"}, Annotations: map[string]string{"note": "a \"b\"\nc"}}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatalf("spec: %v", err)
	}
	return p
}

func service(ns, name, ip string, ports ...v1.ServicePort) v1.Service {
	return v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: v1.ServiceSpec{ClusterIP: ip, Ports: ports}}
}

func facts() environ.Facts {
	https := v1.ServicePort{Name: "https", Port: 443}
	return environ.Facts{
		NodeName: "node-a", HostIPs: []string{"192.0.2.1", "2001:db8::1"}, PodIPs: []string{"10.1.2.3", "fd00::3"},
		Allocatable: v1.ResourceList{"cpu": resource.MustParse("3900m"), "memory": resource.MustParse("7Gi"), "ephemeral-storage": resource.MustParse("90Gi")},
		Services: []v1.Service{
			service("shop", "redis-primary", "10.0.0.11", v1.ServicePort{Port: 6379, Protocol: "TCP"}),
			service("shop", "dns", "fd00:1::a", v1.ServicePort{Name: "dns-udp", Port: 53, Protocol: "UDP"}, v1.ServicePort{Name: "metrics", Port: 9153}),
			service("shop", "headless", "None", v1.ServicePort{Port: 1}),
			service("shop", "external", "", v1.ServicePort{Port: 1}),
			service("other", "redis-primary", "10.0.0.99", v1.ServicePort{Port: 1}),
		},
		MasterServices: []v1.Service{service("default", "kubernetes", "10.0.0.1", https)},
		ConfigMaps: map[string]*v1.ConfigMap{
			"a": {Data: map[string]string{"ONE": "1", "TWO": "$(ONE)"}},
			"b": {Data: map[string]string{"TWO": "two"}},
		},
		Secrets: map[string]*v1.Secret{"s": {Data: map[string][]byte{"KEY": []byte("hush")}}},
		Files: map[environ.File][]byte{
			{Volume: "cfg", Path: "x/app.env"}: []byte("# c\nDB='db $(ONE)'\n"),
			{Volume: "cfg", Path: "bad.env"}:   []byte("DB=secretvalue\n"),
		},
	}
}

func text(vars []environ.Var) string {
	var b strings.Builder
	for _, v := range vars {
		b.WriteString(v.Name + "=" + v.Value + "\n")
	}
	return b.String()
}

const noLinks = "enableServiceLinks: false\n"

// master are the variables every container gets in facts().
const master = `KUBERNETES_SERVICE_HOST=10.0.0.1
KUBERNETES_SERVICE_PORT=443
KUBERNETES_SERVICE_PORT_HTTPS=443
KUBERNETES_PORT=tcp://10.0.0.1:443
KUBERNETES_PORT_443_TCP=tcp://10.0.0.1:443
KUBERNETES_PORT_443_TCP_PROTO=tcp
KUBERNETES_PORT_443_TCP_PORT=443
KUBERNETES_PORT_443_TCP_ADDR=10.0.0.1
`

func TestVars(t *testing.T) {
	for _, c := range []struct{ name, env, want string }{
		{"68 order of precedence", `
envFrom: [{configMapRef: {name: a}}, {configMapRef: {name: b}}, {prefix: P_, secretRef: {name: s}}]
env: [{name: ONE, value: "9"}, {name: LAST, value: x}, {name: LAST, value: z}]`,
			"ONE=9\nTWO=two\nP_KEY=hush\nLAST=z\n"},
		{"68 references see envFrom, earlier entries and services", `
envFrom: [{configMapRef: {name: a}}]
env: [{name: A, value: "$(ONE)$(LATER)"}, {name: LATER, value: l}, {name: B, value: "$(A)-$(LATER)-$(KUBERNETES_SERVICE_PORT)"}]`,
			"ONE=1\nTWO=$(ONE)\nA=1$(LATER)\nLATER=l\nB=1$(LATER)-l-443\n"},
		{"68 an entry may build on what it hides", `
envFrom: [{configMapRef: {name: a}}]
env: [{name: ONE, value: "0$(ONE)"}]`, "ONE=01\nTWO=$(ONE)\n"},
		{"68 escaped references", `env: [{name: A, value: a}, {name: B, value: "$$(A) $(A) $$ $"}]`, "A=a\nB=$(A) a $ $\n"},
		{"68 unusual names are passed on", `env: [{name: "a.b-c d", value: x}]`, "a.b-c d=x\n"},
		{"68 a service is hidden by an entry", `env: [{name: KUBERNETES_PORT, value: mine}]`, ""},
		{"71 optional things missing", `
envFrom: [{configMapRef: {name: none, optional: true}}, {secretRef: {name: none, optional: true}}]
env:
- {name: A, valueFrom: {configMapKeyRef: {name: none, key: k, optional: true}}}
- {name: B, valueFrom: {configMapKeyRef: {name: a, key: none, optional: true}}}
- {name: C, valueFrom: {secretKeyRef: {name: none, key: k, optional: true}}}
- {name: D, valueFrom: {secretKeyRef: {name: s, key: none, optional: true}}}
- {name: E, valueFrom: {fileKeyRef: {volumeName: cfg, path: none, key: k, optional: true}}}
- {name: F, valueFrom: {fileKeyRef: {volumeName: cfg, path: x/app.env, key: none, optional: true}}}
- {name: G, value: g}`, "G=g\n"},
		{"71 keys", `
env:
- {name: A, valueFrom: {configMapKeyRef: {name: a, key: TWO}}}
- {name: B, valueFrom: {secretKeyRef: {name: s, key: KEY}}}`, "A=$(ONE)\nB=hush\n"},
		{"72 fields", `
env:
- {name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: B, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
- {name: C, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
- {name: D, valueFrom: {fieldRef: {fieldPath: "metadata.labels['tier/x']"}}}
- {name: E, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['none']"}}}
- {name: F, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
- {name: G, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
- {name: H, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
- {name: I, valueFrom: {fieldRef: {fieldPath: status.hostIPs}}}
- {name: J, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: K, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}`,
			"A=web\nB=shop\nC=u-1\nD=1\nE=\nF=node-a\nG=robot\nH=192.0.2.1\nI=192.0.2.1,2001:db8::1\nJ=10.1.2.3\nK=10.1.2.3,fd00::3\n"},
		{"72 resources of its own", `
resources: {limits: {cpu: 1500m, memory: 100Mi, hugepages-2Mi: 4Mi}, requests: {cpu: 250m, memory: 1025}}
env:
- {name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
- {name: B, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
- {name: C, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}
- {name: D, valueFrom: {resourceFieldRef: {resource: requests.memory, divisor: 1Ki}}}
- {name: E, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
- {name: F, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
- {name: G, valueFrom: {resourceFieldRef: {resource: limits.hugepages-2Mi, divisor: 1Mi}}}
- {name: H, valueFrom: {resourceFieldRef: {resource: requests.ephemeral-storage}}}`,
			"A=2\nB=1500\nC=1\nD=2\nE=104857600\nF=100\nG=4\nH=0\n"},
		{"72 limits default to what the node can allocate", `
env:
- {name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
- {name: B, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
- {name: C, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Gi}}}
- {name: D, valueFrom: {resourceFieldRef: {resource: limits.ephemeral-storage, divisor: 1Gi}}}
- {name: E, valueFrom: {resourceFieldRef: {resource: limits.hugepages-1Gi}}}
- {name: F, valueFrom: {resourceFieldRef: {resource: requests.memory}}}`, "A=4\nB=3900\nC=7\nD=90\nE=0\nF=0\n"},
		{"72 resources of another container", `
env: [{name: A, valueFrom: {resourceFieldRef: {containerName: other, resource: requests.cpu, divisor: 1m}}}]`, "A=70\n"},
		{"73 env file", `env: [{name: A, valueFrom: {fileKeyRef: {volumeName: cfg, path: x/app.env, key: DB}}}]`, "A=db $(ONE)\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := podOf(t, "serviceAccountName: robot\n"+noLinks+"containers:\n- name: main\n"+indent(c.env)+
				"- name: other\n  resources: {requests: {cpu: 70m}}\n")
			got, err := environ.Vars(p, &p.Spec.Containers[0], facts())
			if err != nil {
				t.Fatal(err)
			}
			want := master + c.want
			if c.want == "" {
				want = strings.Replace(master, "KUBERNETES_PORT=tcp://10.0.0.1:443\n", "KUBERNETES_PORT=mine\n", 1)
			}
			if d := cmp.Diff(want, text(got)); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") + "\n"
}

func TestServiceVars(t *testing.T) {
	t.Run("69 links are on by default, 70 names and values", func(t *testing.T) {
		p := podOf(t, "containers: [{name: main}]")
		got, err := environ.Vars(p, &p.Spec.Containers[0], facts())
		if err != nil {
			t.Fatal(err)
		}
		want := `DNS_SERVICE_HOST=fd00:1::a
DNS_SERVICE_PORT=53
DNS_SERVICE_PORT_DNS_UDP=53
DNS_SERVICE_PORT_METRICS=9153
DNS_PORT=udp://[fd00:1::a]:53
DNS_PORT_53_UDP=udp://[fd00:1::a]:53
DNS_PORT_53_UDP_PROTO=udp
DNS_PORT_53_UDP_PORT=53
DNS_PORT_53_UDP_ADDR=fd00:1::a
DNS_PORT_9153_TCP=tcp://[fd00:1::a]:9153
DNS_PORT_9153_TCP_PROTO=tcp
DNS_PORT_9153_TCP_PORT=9153
DNS_PORT_9153_TCP_ADDR=fd00:1::a
` + master + `REDIS_PRIMARY_SERVICE_HOST=10.0.0.11
REDIS_PRIMARY_SERVICE_PORT=6379
REDIS_PRIMARY_PORT=tcp://10.0.0.11:6379
REDIS_PRIMARY_PORT_6379_TCP=tcp://10.0.0.11:6379
REDIS_PRIMARY_PORT_6379_TCP_PROTO=tcp
REDIS_PRIMARY_PORT_6379_TCP_PORT=6379
REDIS_PRIMARY_PORT_6379_TCP_ADDR=10.0.0.11
`
		if d := cmp.Diff(want, text(got)); d != "" {
			t.Errorf("-want +got\n%s", d)
		}
	})
	t.Run("69 a service of the namespace hides the master service of that name", func(t *testing.T) {
		p, f := podOf(t, "containers: [{name: main}]"), facts()
		f.Services = []v1.Service{service("shop", "kubernetes", "10.9.9.9", v1.ServicePort{Port: 80})}
		got, err := environ.Vars(p, &p.Spec.Containers[0], f)
		if err != nil || len(got) == 0 || got[0].Value != "10.9.9.9" {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("69 none without an API server", func(t *testing.T) {
		p := podOf(t, "containers: [{name: main}]")
		if got, err := environ.Vars(p, &p.Spec.Containers[0], environ.Facts{}); err != nil || len(got) != 0 {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func TestVarsErrors(t *testing.T) {
	for _, c := range []struct {
		name, env, want string
		missing         *environ.Missing
	}{
		{"71 no ConfigMap for envFrom", `envFrom: [{configMapRef: {name: x}}]`, `configmap "x" not found`,
			&environ.Missing{Kind: "ConfigMap", Namespace: "shop", Name: "x"}},
		{"71 no Secret for envFrom", `envFrom: [{secretRef: {name: x}}]`, `secret "x" not found`,
			&environ.Missing{Kind: "Secret", Namespace: "shop", Name: "x"}},
		{"71 no ConfigMap", `env: [{name: A, valueFrom: {configMapKeyRef: {name: x, key: k}}}]`, `configmap "x" not found`,
			&environ.Missing{Kind: "ConfigMap", Namespace: "shop", Name: "x"}},
		{"71 no key in ConfigMap", `env: [{name: A, valueFrom: {configMapKeyRef: {name: a, key: k}}}]`, `couldn't find key k in ConfigMap shop/a`,
			&environ.Missing{Kind: "ConfigMap", Namespace: "shop", Name: "a", Key: "k"}},
		{"71 no Secret", `env: [{name: A, valueFrom: {secretKeyRef: {name: x, key: k}}}]`, `secret "x" not found`,
			&environ.Missing{Kind: "Secret", Namespace: "shop", Name: "x"}},
		{"71 no key in Secret", `env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]`, `couldn't find key k in Secret shop/s`,
			&environ.Missing{Kind: "Secret", Namespace: "shop", Name: "s", Key: "k"}},
		{"73 no env file", `env: [{name: A, valueFrom: {fileKeyRef: {volumeName: cfg, path: x, key: k}}}]`, `env file "cfg/x" not found`,
			&environ.Missing{Kind: "file", Name: "cfg/x"}},
		{"73 no key in env file", `env: [{name: A, valueFrom: {fileKeyRef: {volumeName: cfg, path: x/app.env, key: k}}}]`,
			`couldn't find key k in env file cfg/x/app.env`, &environ.Missing{Kind: "file", Name: "cfg/x/app.env", Key: "k"}},
		{"73 unreadable even when optional", `env: [{name: A, valueFrom: {fileKeyRef: {volumeName: cfg, path: bad.env, key: k, optional: true}}}]`,
			`env A: env file cfg/bad.env: line 1: the value of DB must be in single quotes`, nil},
		{"72 unsupported field", `env: [{name: A, valueFrom: {fieldRef: {fieldPath: spec.hostname}}}]`, `env A: unsupported fieldPath: spec.hostname (`, nil},
		{"72 label without key", `env: [{name: A, valueFrom: {fieldRef: {fieldPath: "metadata.labels['']"}}}]`, `env A: unsupported fieldPath: metadata.labels[''] (`, nil},
		{"72 unsupported resource", `env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.pods}}}]`, `env A: unsupported container resource : limits.pods (`, nil},
		{"72 neither limit nor request", `env: [{name: A, valueFrom: {resourceFieldRef: {resource: cpu}}}]`, `env A: unsupported container resource : cpu (`, nil},
		{"72 no such container", `env: [{name: A, valueFrom: {resourceFieldRef: {containerName: x, resource: limits.cpu}}}]`,
			`env A: resourceFieldRef: the pod has no container "x"`, nil},
		{"68 no source", `env: [{name: A, valueFrom: {}}]`, `env A: valueFrom names no source`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := podOf(t, "containers:\n- name: main\n"+indent(c.env))
			got, err := environ.Vars(p, &p.Spec.Containers[0], facts())
			if err == nil {
				t.Fatalf("no error, got %v", got)
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error %q, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "secretvalue") {
				t.Errorf("error shows a value: %v", err)
			}
			var m *environ.Missing
			if errors.As(err, &m) != (c.missing != nil) || c.missing != nil && *m != *c.missing {
				t.Errorf("missing = %+v, want %+v", m, c.missing)
			}
		})
	}
}

func TestField(t *testing.T) {
	for _, c := range []struct{ name, spec, path, want string }{
		{"180 all labels", "", "metadata.labels", "app=\"web\"\ntier/x=\"1\""},
		{"180 all annotations", "", "metadata.annotations", `note="a \"b\"\nc"`},
		{"72 node name of the specification wins", "nodeName: n2", "spec.nodeName", "n2"},
		{"72 node's addresses in the node's network", "hostNetwork: true", "status.podIPs", "192.0.2.1,2001:db8::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := facts()
			f.PodIPs = nil
			got, err := environ.Field(podOf(t, c.spec), c.path, f)
			if err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
	t.Run("72 no address yet", func(t *testing.T) {
		if got, err := environ.Field(podOf(t, ""), "status.podIP", environ.Facts{}); err != nil || got != "" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestResourceOfPod(t *testing.T) {
	p := podOf(t, "resources: {limits: {memory: 1Gi}}\ncontainers: [{name: main}]")
	for _, c := range []struct {
		name string
		sel  v1.ResourceFieldSelector
		own  bool
		want string
	}{
		{"217 limit of the pod before allocatable", v1.ResourceFieldSelector{Resource: "limits.memory"}, true, "1073741824"},
		{"180 named container, for a volume", v1.ResourceFieldSelector{ContainerName: "main", Resource: "limits.cpu"}, false, "4"},
		{"180 no container named", v1.ResourceFieldSelector{Resource: "limits.cpu"}, false, "error"},
		{"72 divisor below nothing", v1.ResourceFieldSelector{Resource: "limits.cpu", Divisor: resource.MustParse("-1")}, true, "4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var own *v1.Container
			if c.own {
				own = &p.Spec.Containers[0]
			}
			got, err := environ.Resource(p, own, &c.sel, facts().Allocatable)
			if err != nil {
				got = "error"
			}
			if got != c.want {
				t.Errorf("got %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

func TestNeedOf(t *testing.T) {
	p := podOf(t, "containers:\n- name: main\n"+indent(`
envFrom: [{configMapRef: {name: b}}, {secretRef: {name: s}}]
env:
- {name: A, valueFrom: {configMapKeyRef: {name: a, key: k}}}
- {name: B, valueFrom: {configMapKeyRef: {name: b, key: k}}}
- {name: C, valueFrom: {secretKeyRef: {name: r, key: k}}}
- {name: D, valueFrom: {fileKeyRef: {volumeName: v, path: q, key: k}}}
- {name: E, valueFrom: {fileKeyRef: {volumeName: v, path: p, key: k}}}
- {name: F, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: G, value: g}`))
	want := environ.Need{ConfigMaps: []string{"a", "b"}, Secrets: []string{"r", "s"}, Files: []environ.File{{Volume: "v", Path: "p"}, {Volume: "v", Path: "q"}}}
	if d := cmp.Diff(want, environ.NeedOf(&p.Spec.Containers[0])); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
	if d := cmp.Diff([]environ.Var{{Name: "G", Value: "g"}}, environ.Literals(&p.Spec.Containers[0])); d != "" {
		t.Errorf("127 literals: -want +got\n%s", d)
	}
}
