package translate_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/translate"
)

// refused checks that err is a ConfigError of that reason whose message has the text in it.
func refused(t *testing.T, err error, reason, text string) {
	t.Helper()
	var c *translate.ConfigError
	if !errors.As(err, &c) {
		t.Fatalf("error %v, want a ConfigError with %q", err, text)
	}
	if c.Reason != reason || !strings.Contains(c.Message, text) {
		t.Errorf("refused with %s: %s; want %s: …%s…", c.Reason, c.Message, reason, text)
	}
}

func TestSandbox(t *testing.T) {
	none := "containers: [{name: a, image: i}]\n"
	for _, c := range []struct {
		name, spec string
		change     func(*translate.Node, *translate.PodInputs)
		got        func(*runtimeapi.PodSandboxConfig) any
		want       any
	}{
		{"50 log directory", none, nil, func(s *runtimeapi.PodSandboxConfig) any { return s.LogDirectory }, "/var/log/pods/shop_web_u-1"},
		{"50 cgroup parent", none, nil, func(s *runtimeapi.PodSandboxConfig) any { return s.Linux.CgroupParent }, "/kubepods/podu-1"},
		{"50 ports of regular containers and sidecars", `
initContainers: [{name: i, ports: [{containerPort: 1, hostPort: 1}]}, {name: s, restartPolicy: Always, ports: [{containerPort: 2, hostPort: 2, protocol: UDP}]}]
containers: [{name: a, ports: [{containerPort: 3, protocol: TCP}, {containerPort: 4, hostPort: 5, hostIP: "::1"}]}]`, nil,
			func(s *runtimeapi.PodSandboxConfig) any {
				out := ""
				for _, m := range s.PortMappings {
					out += fmt.Sprintf("%s %d->%d %s;", m.Protocol, m.HostPort, m.ContainerPort, m.HostIp)
				}
				return out
			}, "UDP 2->2 ;TCP 0->3 ;TCP 5->4 ::1;"},
		{"51 pod name", none, nil, hostname, "web"},
		{"51 hostname", none + "hostname: h", nil, hostname, "h"},
		{"51 subdomain alone does not change it", none + "hostname: h\nsubdomain: s", nil, hostname, "h"},
		{"51 full name", none + "subdomain: s\nsetHostnameAsFQDN: true", nil, hostname, "web.s.shop.svc.cluster.local"},
		{"51 full name without subdomain", none + "setHostnameAsFQDN: true", nil, hostname, "web"},
		{"51 override", none + "hostname: h\nsubdomain: s\nhostnameOverride: o.example", nil, hostname, "o.example"},
		{"51 node's network", none + "hostNetwork: true", nil, hostname, ""},
		{"52 own namespaces", none, nil, spaces, "network=POD ipc=POD pid=CONTAINER user=NODE"},
		{"52 the node's", none + "hostNetwork: true\nhostIPC: true\nhostPID: true", nil, spaces, "network=NODE ipc=NODE pid=NODE user=NODE"},
		{"52 shared processes", none + "shareProcessNamespace: true", nil, spaces, "network=POD ipc=POD pid=POD user=NODE"},
		{"52 user namespace", none + "hostUsers: false", nil, spaces, "network=POD ipc=POD pid=CONTAINER user=POD"},
		{"100 the same map for users and groups", none + "hostUsers: false", nil, func(s *runtimeapi.PodSandboxConfig) any {
			u := s.Linux.SecurityContext.NamespaceOptions.UsernsOptions
			return fmt.Sprint(u.Uids, u.Gids)
		}, fmt.Sprint([]*runtimeapi.IDMapping{{HostId: 131072, Length: 65536}}, []*runtimeapi.IDMapping{{HostId: 131072, Length: 65536}})},
		{"53 slashes in sysctls", none + `securityContext: {sysctls: [{name: net/ipv4/conf/eth0.1/forwarding, value: "1"}, {name: kernel.msgmax, value: "2"}]}`, nil,
			func(s *runtimeapi.PodSandboxConfig) any { return s.Linux.Sysctls },
			map[string]string{"net.ipv4.conf.eth0/1.forwarding": "1", "kernel.msgmax": "2"}},
		{"53 node's default sysctls, the pod's win", none + `securityContext: {sysctls: [{name: net.core.somaxconn, value: "9"}]}`, defaults,
			func(s *runtimeapi.PodSandboxConfig) any { return s.Linux.Sysctls },
			map[string]string{"net.core.somaxconn": "9", "kernel.shmmax": "2"}},
		{"53 no defaults that would change the node", none + "hostNetwork: true\nhostIPC: true", defaults,
			func(s *runtimeapi.PodSandboxConfig) any { return len(s.Linux.Sysctls) }, 0},
		{"53 seccomp", none + "securityContext: {seccompProfile: {type: Unconfined}}", nil,
			func(s *runtimeapi.PodSandboxConfig) any { return s.Linux.SecurityContext.Seccomp.ProfileType.String() }, "RuntimeDefault"},
		{"53 privileged by an init container", "initContainers: [{name: i, securityContext: {privileged: true}}]\n" + none, nil,
			func(s *runtimeapi.PodSandboxConfig) any { return s.Linux.SecurityContext.Privileged }, true},
		{"53 not privileged", none, nil, func(s *runtimeapi.PodSandboxConfig) any { return s.Linux.SecurityContext.Privileged }, false},
		{"53 group without user", none + "securityContext: {runAsGroup: 5}", nil,
			func(s *runtimeapi.PodSandboxConfig) any { return s.Linux.SecurityContext.RunAsGroup == nil }, true},
		{"94 groups, each once", none + "securityContext: {fsGroup: 3, supplementalGroups: [4, 3]}",
			func(_ *translate.Node, in *translate.PodInputs) { in.Groups = []int64{4, 5} },
			func(s *runtimeapi.PodSandboxConfig) any { return s.Linux.SecurityContext.SupplementalGroups }, []int64{3, 4, 5}},
		{"56 overhead", none + "overhead: {cpu: 500m, memory: 1Mi}", nil, func(s *runtimeapi.PodSandboxConfig) any {
			return fmt.Sprint(s.Linux.Overhead.CpuShares, " ", s.Linux.Overhead.CpuQuota, " ", s.Linux.Overhead.MemoryLimitInBytes, " ", s.Linux.Resources.CpuShares)
		}, "512 50000 1048576 2"},
		{"56 no overhead", none, nil, func(s *runtimeapi.PodSandboxConfig) any { return s.Linux.Overhead == nil }, true},
		{"101 SELinux", none + "securityContext: {seLinuxOptions: {level: s0}}", nil,
			func(s *runtimeapi.PodSandboxConfig) any { return s.Linux.SecurityContext.SelinuxOptions.Level }, "s0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _, err := sandboxOf(t, c.spec, c.change)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, c.got(s), protocmp.Transform()); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func hostname(s *runtimeapi.PodSandboxConfig) any { return s.Hostname }

func spaces(s *runtimeapi.PodSandboxConfig) any {
	n := s.Linux.SecurityContext.NamespaceOptions
	return fmt.Sprintf("network=%s ipc=%s pid=%s user=%s", n.Network, n.Ipc, n.Pid, n.UsernsOptions.Mode)
}

func defaults(n *translate.Node, _ *translate.PodInputs) {
	n.Sysctls = map[string]string{"net/core/somaxconn": "1", "kernel.shmmax": "2"}
}

func TestSandboxRefused(t *testing.T) {
	for _, c := range []struct {
		name, spec, want string
		change           func(*translate.Node, *translate.PodInputs)
	}{
		{"51 full name too long", "subdomain: " + strings.Repeat("s", 50) + "\nsetHostnameAsFQDN: true", "is too long (64 characters is the max, 77 characters requested)", nil},
		{"100 runtime without user namespaces", "hostUsers: false", `runtime handler "plain" does not support user namespaces`,
			func(_ *translate.Node, in *translate.PodInputs) { in.Handler = "plain" }},
		{"100 no ids", "hostUsers: false", "no host ids are set aside", func(_ *translate.Node, in *translate.PodInputs) { in.UserNamespace = nil }},
		{"76 odd DNS policy", "dnsPolicy: Sometimes", `spec.dnsPolicy: invalid value "Sometimes"`, nil},
		{"50 odd protocol", "containers: [{name: a, ports: [{containerPort: 7, protocol: ICMP}]}]", `container a, port 7: unknown protocol "ICMP"`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := sandboxOf(t, c.spec, c.change)
			refused(t, err, reason.FailedCreatePodSandBox, c.want)
		})
	}
}

func TestHostname(t *testing.T) {
	for _, c := range []struct{ name, pod, spec, clusterDomain, host, domain string }{
		{"51 pod name", "web", "", "d", "web", ""},
		{"51 domain", "web", "subdomain: s", "d", "web", "s.shop.svc.d"},
		{"51 domain without cluster domain", "web", "subdomain: s", "", "web", "s.shop.svc"},
		{"51 cut at 63", strings.Repeat("x", 70), "", "d", strings.Repeat("x", 63), ""},
		{"51 no dash or dot left at the cut", strings.Repeat("x", 60) + "-.-zzz", "", "d", strings.Repeat("x", 60), ""},
		{"51 override has no domain", "web", "subdomain: s\nhostnameOverride: o", "d", "o", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := parse(t, c.spec)
			p.Name = c.pod
			if host, domain := translate.Hostname(p, c.clusterDomain); host != c.host || domain != c.domain {
				t.Errorf("got %q, %q; want %q, %q", host, domain, c.host, c.domain)
			}
		})
	}
}

func TestOrderIPs(t *testing.T) {
	for _, c := range []struct {
		name string
		ips  []string
		node string
		want []string
	}{
		{"55 same family first already", []string{"10.0.0.1", "fd00::1"}, "192.0.2.1", []string{"10.0.0.1", "fd00::1"}},
		{"55 node prefers IPv6", []string{"10.0.0.1", "fd00::1"}, "2001:db8::1", []string{"fd00::1", "10.0.0.1"}},
		{"55 node prefers IPv4", []string{"fd00::1", "10.0.0.1"}, "192.0.2.1", []string{"10.0.0.1", "fd00::1"}},
		{"55 mapped IPv4 is IPv4", []string{"fd00::1", "10.0.0.1"}, "::ffff:192.0.2.1", []string{"10.0.0.1", "fd00::1"}},
		{"55 node's address not known", []string{"fd00::1", "10.0.0.1"}, "", []string{"fd00::1", "10.0.0.1"}},
		{"55 one address of the other family", []string{"fd00::1"}, "192.0.2.1", []string{"fd00::1"}},
		{"55 none", nil, "192.0.2.1", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := slices.Clone(c.ips)
			if got := translate.OrderIPs(c.ips, c.node); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if !slices.Equal(before, c.ips) {
				t.Errorf("the argument was changed to %v", c.ips)
			}
		})
	}
}

func TestHosts(t *testing.T) {
	const head = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
	const aliases = "hostAliases: [{ip: 127.0.0.1, hostnames: [foo.local, bar.local]}, {ip: 10.1.2.3, hostnames: [foo.remote]}]\n"
	const block = "\n# Entries added by HostAliases.\n127.0.0.1\tfoo.local\tbar.local\n10.1.2.3\tfoo.remote\n"
	for _, c := range []struct {
		name, spec string
		ips        []string
		want       string
	}{
		{"74 plain", "", []string{"10.200.0.4"}, head + "10.200.0.4\tweb\n"},
		{"74 two addresses with a domain", "subdomain: s", []string{"10.200.0.4", "fd00::4"},
			head + "10.200.0.4\tweb.s.shop.svc.d\tweb\nfd00::4\tweb.s.shop.svc.d\tweb\n"},
		{"74 aliases", aliases, []string{"10.200.0.4"}, head + "10.200.0.4\tweb\n" + block},
		{"74 node's network", "hostNetwork: true\n" + aliases, []string{"192.0.2.1"},
			"# Kubernetes-managed hosts file (host network).\n127.0.0.1 node\n" + block},
		{"74 no address yet", "", nil, head},
	} {
		t.Run(c.name, func(t *testing.T) {
			if d := cmp.Diff(c.want, string(translate.Hosts(parse(t, c.spec), "d", c.ips, []byte("127.0.0.1 node\n")))); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
		})
	}
}

func TestLabelsAndAnnotations(t *testing.T) {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u-1",
		Labels: map[string]string{"app": "web", "io.kubernetes.pod.uid": "forged"}, Annotations: map[string]string{"note": "n"}}}
	d := &pod.Desired{Pod: p, Source: pod.FromURL, Seen: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	t.Run("49 sandbox labels", func(t *testing.T) {
		want := map[string]string{"app": "web", "io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": "u-1"}
		if diff := cmp.Diff(want, translate.SandboxLabels(p)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("49 sandbox annotations", func(t *testing.T) {
		want := map[string]string{"note": "n", "kubernetes.io/config.source": "http", "kubernetes.io/config.seen": "2026-01-02T03:04:05.000000006Z"}
		if diff := cmp.Diff(want, translate.SandboxAnnotations(d)); diff != "" {
			t.Error(diff)
		}
		if len(p.Annotations) != 1 {
			t.Errorf("the pod's annotations were changed: %v", p.Annotations)
		}
	})
	t.Run("60 container labels", func(t *testing.T) {
		want := map[string]string{
			"io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": "u-1", "io.kubernetes.container.name": "app",
		}
		if diff := cmp.Diff(want, translate.ContainerLabels(p, "app")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestContainerAnnotations(t *testing.T) {
	spec := `
terminationGracePeriodSeconds: 45
containers:
- name: app
  image: app:1
  ports: [{name: http, containerPort: 80, protocol: TCP}]
  lifecycle: {preStop: {httpGet: {path: /bye, port: http}}}
  terminationMessagePath: /tmp/end
  terminationMessagePolicy: FallbackToLogsOnError
- {name: bare, image: b}`
	p := parse(t, spec)
	seven := int64(7)
	p.DeletionGracePeriodSeconds = &seven
	t.Run("60 written", func(t *testing.T) {
		got, err := translate.ContainerAnnotations(p, &p.Spec.Containers[0], 3)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"io.kubernetes.container.hash":                     names.HashContainer(&p.Spec.Containers[0]),
			"io.kubernetes.container.restartCount":             "3",
			"io.kubernetes.container.terminationMessagePath":   "/tmp/end",
			"io.kubernetes.container.terminationMessagePolicy": "FallbackToLogsOnError",
			"io.kubernetes.pod.deletionGracePeriod":            "7",
			"io.kubernetes.pod.terminationGracePeriod":         "45",
			"io.kubernetes.container.ports":                    `[{"name":"http","containerPort":80,"protocol":"TCP"}]`,
			"io.kubernetes.container.preStopHandler":           `{"httpGet":{"path":"/bye","port":"http"}}`,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
	t.Run("60 read back", func(t *testing.T) {
		written, err := translate.ContainerAnnotations(p, &p.Spec.Containers[0], 3)
		if err != nil {
			t.Fatal(err)
		}
		got, err := translate.ParseContainerAnnotations(written)
		if err != nil {
			t.Fatal(err)
		}
		c, fortyFive := p.Spec.Containers[0], int64(45)
		want := translate.Noted{Hash: names.HashContainer(&c), Attempt: 3, TerminationMessagePath: "/tmp/end", TerminationMessagePolicy: "FallbackToLogsOnError",
			DeletionGrace: &seven, TerminationGrace: &fortyFive, PreStop: c.Lifecycle.PreStop, Ports: c.Ports}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
	t.Run("60 nothing optional", func(t *testing.T) {
		q := parse(t, "containers: [{name: bare}]")
		got, err := translate.ContainerAnnotations(q, &q.Spec.Containers[0], 0)
		if err != nil || len(got) != 4 {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("60 what cannot be read is left out", func(t *testing.T) {
		got, err := translate.ParseContainerAnnotations(map[string]string{
			"io.kubernetes.container.hash": "abc", "io.kubernetes.container.restartCount": "-1", "io.kubernetes.pod.terminationGracePeriod": "long",
			"io.kubernetes.pod.deletionGracePeriod": "5", "io.kubernetes.container.preStopHandler": "{", "io.kubernetes.container.ports": "5",
		})
		five := int64(5)
		if diff := cmp.Diff(translate.Noted{Hash: "abc", DeletionGrace: &five}, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		for _, name := range []string{"restartCount", "terminationGracePeriod", "preStopHandler", "ports"} {
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("error %v does not name %s", err, name)
			}
		}
	})
}

func TestHash(t *testing.T) {
	// Seen on clusters with upstream kubelets 1.31 and later.
	for name, c := range map[string]struct{ container, image, want string }{
		"59 storage-provisioner": {"storage-provisioner", "gcr.io/k8s-minikube/storage-provisioner:v5", "6c6bf961"},
		"59 kube-apiserver":      {"kube-apiserver", "registry.k8s.io/kube-apiserver:v1.31.1", "7df2713b"},
	} {
		t.Run(name, func(t *testing.T) {
			c1 := v1.Container{Name: c.container, Image: c.image}
			if got := names.HashContainer(&c1); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			c2 := v1.Container{Name: c.container, Image: c.image, Command: []string{"x"}, TTY: true}
			if got := names.HashContainer(&c2); got != c.want {
				t.Errorf("other fields change it to %s", got)
			}
			if c3 := (v1.Container{Name: c.container, Image: c.image + "x"}); names.HashContainer(&c3) == c.want {
				t.Error("another image does not change it")
			}
		})
	}
}

func TestOrphan(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 1, 1, 0, 0, s, 0, time.UTC) }
	spec := parse(t, `
terminationGracePeriodSeconds: 45
containers: [{name: app, image: i, ports: [{name: p, containerPort: 8}], lifecycle: {preStop: {exec: {command: [bye]}}}, terminationMessagePath: /t, terminationMessagePolicy: File}]`)
	noted, err := translate.ContainerAnnotations(spec, &spec.Spec.Containers[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	report := pod.Report{
		Complete: true, Namespace: "shop", Name: "web", Sandboxes: []pod.Sandbox{{ID: "s", HostNetwork: true}},
		Containers: []pod.Container{
			{ID: "3", Name: "late", Image: "l", CreatedAt: at(3), Annotations: map[string]string{"io.kubernetes.container.restartCount": "no"}},
			{ID: "1", Name: "app", Image: "old", Attempt: 0, CreatedAt: at(1)},
			{ID: "2", Name: "app", Image: "new", Attempt: 1, CreatedAt: at(2), Annotations: noted},
		},
	}
	d := translate.Orphan("u-9", report, at(9))
	t.Run("25 identity", func(t *testing.T) {
		if d.UID() != "u-9" || d.Pod.Name != "web" || d.Pod.Namespace != "shop" || d.Source != pod.FromRuntime || d.Wanted || !d.Seen.Equal(at(9)) || d.Deletion != nil {
			t.Errorf("got %+v of %+v", d, d.Pod.ObjectMeta)
		}
		if !d.Pod.Spec.HostNetwork || d.Pod.Spec.RestartPolicy != v1.RestartPolicyNever || d.Grace() != 45*time.Second {
			t.Errorf("got %+v", d.Pod.Spec)
		}
	})
	t.Run("25 containers can be stopped as they asked to be", func(t *testing.T) {
		want := []v1.Container{
			{Name: "app", Image: "new", Ports: spec.Spec.Containers[0].Ports, Lifecycle: spec.Spec.Containers[0].Lifecycle, TerminationMessagePath: "/t", TerminationMessagePolicy: "File"},
			{Name: "late", Image: "l"},
		}
		if diff := cmp.Diff(want, d.Pod.Spec.Containers); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
	t.Run("25 nothing but a sandbox", func(t *testing.T) {
		if d := translate.Orphan("u", pod.Report{Name: "n", Namespace: "ns"}, at(1)); d.Pod.Spec.Containers != nil || d.Grace() != 30*time.Second {
			t.Errorf("got %+v", d.Pod.Spec)
		}
	})
}

func FuzzParseContainerAnnotations(f *testing.F) {
	f.Add("1", "30", `{"exec":{"command":["x"]}}`, `[{"containerPort":80}]`)
	f.Add("-1", "", "{", "null")
	f.Fuzz(func(t *testing.T, count, grace, preStop, ports string) {
		noted, err := translate.ParseContainerAnnotations(map[string]string{
			"io.kubernetes.container.restartCount": count, "io.kubernetes.pod.terminationGracePeriod": grace,
			"io.kubernetes.container.preStopHandler": preStop, "io.kubernetes.container.ports": ports,
		})
		if err == nil && (noted.TerminationGrace == nil || noted.PreStop == nil) {
			t.Errorf("no error, but %+v", noted)
		}
		// Whatever the annotations say, the container can be described for stopping, and its description written down.
		d := translate.Orphan("u", pod.Report{Containers: []pod.Container{{Name: "a", Annotations: map[string]string{
			"io.kubernetes.container.preStopHandler": preStop, "io.kubernetes.container.ports": ports}}}}, time.Time{})
		if _, err := translate.ContainerAnnotations(d.Pod, &d.Pod.Spec.Containers[0], 0); err != nil {
			t.Errorf("orphan cannot be written down: %v", err)
		}
	})
}
