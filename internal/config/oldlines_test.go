package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// warned gives the flags the warnings begin with.
func warned(c *Config) []string {
	var out []string
	for _, w := range c.Warnings {
		name, _, _ := strings.Cut(w, " ")
		out = append(out, name)
	}
	return out
}

// The three command lines that issue 2 quotes from old tutorials.
func TestOldCommandLines(t *testing.T) {
	manifests := files{
		"/etc/kubernetes/manifests/etcd.yaml": "apiVersion: v1\nkind: Pod\n",
		"/etc/one.yaml":                       "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\n",
		"/etc/list.json":                      `{"kind":"PodList","apiVersion":"v1","items":[]}`,
		"/etc/plain.yaml":                     "---\n# several\nkind: List\napiVersion: v1\n---\nkind: Pod\n",
	}
	tests := []struct {
		name  string
		line  string
		warns []string
		check func(c *Config) bool
	}{
		{"manifest directory", "--allow-privileged=true --config=/etc/kubernetes/manifests --pod-infra-container-image=gcr.io/google_containers/pause:2.0 --hostname-override=10.0.0.7",
			[]string{"--allow-privileged", "--pod-infra-container-image", "--config"},
			func(c *Config) bool {
				return c.Kubelet.StaticPodPath == "/etc/kubernetes/manifests" && c.ConfigFile == "" && c.HostnameOverride == "10.0.0.7" && c.Kubelet.ReadOnlyPort == 10255
			}},
		{"manifest file", "--config=/etc/one.yaml", []string{"--config"}, func(c *Config) bool { return c.Kubelet.StaticPodPath == "/etc/one.yaml" }},
		{"pod list", "--config /etc/list.json", []string{"--config"}, func(c *Config) bool { return c.Kubelet.StaticPodPath == "/etc/list.json" }},
		{"list, relative", "--config=../etc/plain.yaml", []string{"--config"}, func(c *Config) bool { return c.Kubelet.StaticPodPath == "/etc/plain.yaml" }},
		{"both", "--config=/etc/one.yaml --pod-manifest-path=/etc/kubernetes/manifests", []string{"--config"},
			func(c *Config) bool { return c.Kubelet.StaticPodPath == "/etc/kubernetes/manifests" }},
		{"run once", "--runonce", []string{"--runonce"}, func(c *Config) bool { return !c.Kubelet.RunOnce }},
		{"run once, long line", "--runonce=true --config=/etc/kubernetes/manifests --address=0.0.0.0 --port=10260 --read-only-port=10261 --cadvisor-port=4194 --healthz-port=10262 --healthz-bind-address=0.0.0.0 --max-pods=40 --root-dir=/tmp/kubelet --file-check-frequency=5s --container-runtime=docker --api-servers=http://localhost:8080 --log-dir=/var/log --logtostderr=false --v=2 --enable-server=true --max-open-files=1000",
			[]string{"--runonce", "--cadvisor-port", "--container-runtime", "--api-servers", "--log-dir", "--logtostderr", "--config"},
			func(c *Config) bool {
				k := c.Kubelet
				return k.Port == 10260 && k.ReadOnlyPort == 10261 && *k.HealthzPort == 10262 && k.HealthzBindAddress == "0.0.0.0" && k.MaxPods == 40 &&
					c.RootDir == "/tmp/kubelet" && c.Ledger == "/tmp/kubelet/bosun.db" && k.FileCheckFrequency.Duration.String() == "5s" && k.Logging.Verbosity == 2 &&
					*k.EnableServer && k.MaxOpenFiles == 1000 && c.Standalone()
			}},
		{"apart by spaces", "--cadvisor_port 0 --container_runtime docker --api-servers http://a,http://b --log-dir /var/log --logtostderr --v 2 --max_pods 40",
			[]string{"--cadvisor-port", "--container-runtime", "--api-servers", "--log-dir", "--logtostderr"},
			func(c *Config) bool { return c.Kubelet.Logging.Verbosity == 2 && c.Kubelet.MaxPods == 40 }},
		{"CNI era", "--kubeconfig=/etc/kubernetes/kubelet.conf --require-kubeconfig=true --pod-manifest-path=/etc/kubernetes/manifests --allow-privileged=true --network-plugin=cni --cni-conf-dir=/etc/cni/net.d --cni-bin-dir=/opt/cni/bin --cluster-dns=10.96.0.10 --cluster-domain=cluster.local --authorization-mode=Webhook --client-ca-file=/etc/kubernetes/pki/ca.crt --feature-gates=AllAlpha=true",
			[]string{"--require-kubeconfig", "--allow-privileged", "--network-plugin", "--cni-conf-dir", "--cni-bin-dir"},
			func(c *Config) bool {
				k := c.Kubelet
				return !c.Standalone() && k.ClusterDNS[0] == "10.96.0.10" && k.ClusterDomain == "cluster.local" && k.Authorization.Mode == "Webhook" &&
					k.Authentication.X509.ClientCAFile == "/etc/kubernetes/pki/ca.crt" && c.Gate("EventedPLEG") && c.Gate("NodeSwap")
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := load(t, manifests, strings.Fields(tt.line)...)
			if got := warned(c); !slices.Equal(got, tt.warns) {
				t.Errorf("warnings about %q, want %q\n%s", got, tt.warns, strings.Join(c.Warnings, "\n"))
			}
			if !tt.check(c) {
				t.Errorf("values differ: %+v", c)
			}
		})
	}
}

// Every retired flag earns one warning in every spelling, and never takes a neighbour with it.
func TestRetiredFlags(t *testing.T) {
	flags := flagTable()
	for name, r := range retiredTable() {
		if slices.ContainsFunc(flags, func(f flag) bool { return f.name == name }) {
			t.Errorf("--%s is both retired and in use", name)
		}
		if r.instead == "" || strings.HasSuffix(r.instead, ".") {
			t.Errorf("--%s: say what to use instead, without a full stop", name)
		}
		spellings := [][]string{{"--" + name + "=true"}, {"--" + strings.ReplaceAll(name, "-", "_") + "=x"}, {"--" + name, "--" + name + "=1"}}
		if r.isSwitch {
			spellings = append(spellings, []string{"--" + name})
		} else {
			spellings = append(spellings, []string{"--" + name, "value"}, []string{"--" + name})
		}
		for _, args := range spellings {
			c := load(t, nil, slices.Concat([]string{"--max-pods=7"}, args, []string{"--node-ip=10.0.0.1"})...)
			if got := warned(c); len(got) != 1 || got[0] != "--"+name {
				t.Errorf("%q: warnings %q", args, c.Warnings)
			}
			if c.Kubelet.MaxPods != 7 || !slices.Equal(c.NodeIPs, []netip.Addr{netip.MustParseAddr("10.0.0.1")}) {
				t.Errorf("%q: a neighbour was lost", args)
			}
		}
	}
	for _, want := range strings.Fields(`container-runtime network-plugin cni-conf-dir cni-bin-dir cni-cache-dir docker docker-endpoint pod-infra-container-image
		cloud-config register-schedulable keep-terminated-pod-volumes iptables-masquerade-bit iptables-drop-bit azure-container-registry-config
		non-masquerade-cidr experimental-bootstrap-kubeconfig redirect-container-streaming containerd log-dir logtostderr dynamic-config-dir
		master-service-namespace allow-privileged runonce cadvisor-port api-servers require-kubeconfig`) {
		if _, ok := retiredTable()[want]; !ok {
			t.Errorf("--%s is not known as retired", want)
		}
	}
}

func TestUnknownArguments(t *testing.T) {
	tests := []struct {
		args string
		want []string
	}{
		{"--maxpods=3", []string{"did you mean --max-pods?"}},
		{"--bootstrap-kubeconfg=x --Port=1", []string{"did you mean --bootstrap-kubeconfig?", "did you mean --port?"}},
		{"--entirely-unheard-of", []string{"--entirely-unheard-of: there is no such flag; bosun run --help lists them all"}},
		{"-port=1", []string{"write --port, with two dashes"}},
		{"-x", []string{`"-x": there is no such flag`}},
		{"web.yaml", []string{`"web.yaml": only flags are taken here`}},
		{"--runonce false", []string{"--runonce=false"}},
		{"--enable-server false", []string{"--enable-server=false"}},
		{"--max-pods", []string{"--max-pods: needs a value"}},
		{"--config --v=2", []string{"--config: needs a value"}},
		{"--max-pods=x --port=99999999999 --detach=perhaps --sync-frequency=10", []string{
			`--max-pods (maxPods): "x": want a whole number`, "--port (port): \"99999999999\": want a number from -2147483648 to 2147483647", "--detach: \"perhaps\": want true or false", "--sync-frequency (syncFrequency): \"10\": want a duration"}},
		{"-v=-1", []string{`--v (logging.verbosity): "-1": want a number from 0 to 4294967295`}},
		{"--max-open-files=9223372036854775808", []string{"want a whole number"}},
		{"--manifest-url-header=secret", []string{"--manifest-url-header (staticPodURLHeader): <masked>"}},
		{"--register-with-taints=a --node-ip=here --vmodule=x --kube-reserved=cpu --feature-gates=A --reserved-memory=1 --version=3", []string{"key:Effect", "IP address", "pattern=level", "key=value", "Gate=true", "0:memory=1Gi", "starts with v"}},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			_, err := Load(strings.Fields(tt.args), Env{Files: files{}})
			wantProblems(t, err, tt.want...)
		})
	}
}

func TestArgumentForms(t *testing.T) {
	c, err := Load([]string{"-v3", "a.yaml", "--detach", "b.yaml", "--", "--not-a-flag"}, Env{Files: files{}, Operands: true})
	if err != nil || c.Kubelet.Logging.Verbosity != 3 || !c.Detach || !slices.Equal(c.Args, []string{"a.yaml", "b.yaml", "--not-a-flag"}) {
		t.Errorf("got %v, %v", c.Args, err)
	}
	for _, args := range []string{"-v=4", "-v 4", "--v=4", "--v 4", "-v4"} {
		if c := load(t, nil, strings.Fields(args)...); c.Kubelet.Logging.Verbosity != 4 {
			t.Errorf("%s: level %d", args, c.Kubelet.Logging.Verbosity)
		}
	}
	for args, want := range map[string]string{"--version": "true", "--version=raw": "raw", "--version=v1.37.9": "v1.37.9", "--version=false": ""} {
		if c := load(t, nil, args); c.Version != want {
			t.Errorf("%s: %q", args, c.Version)
		}
	}
	// Who asks for help gets it, whatever else is wrong.
	if c, err := Load([]string{"-h", "--config=/nowhere", "--nonsense"}, Env{Files: files{}}); err != nil || !c.Help {
		t.Errorf("help: %v", err)
	}
	// Lists add up over repeated flags, and an empty one empties.
	c = load(t, nil, "--cluster-dns=10.0.0.1,10.0.0.2", "--cluster-dns=10.0.0.3", "--enforce-node-allocatable=", "--reserved-memory=0:memory=1Gi;1:memory=2Gi,hugepages-2Mi=4Mi",
		"--manifest-url=http://h/p", "--manifest-url-header=a:1,b:2,a:3", "--register-with-taints=k=v:NoSchedule,node-role.kubernetes.io/control-plane:NoSchedule,e=:NoExecute")
	k := c.Kubelet
	if len(k.ClusterDNS) != 3 || len(k.EnforceNodeAllocatable) != 0 || len(k.ReservedMemory) != 2 || len(k.ReservedMemory[1].Limits) != 2 ||
		!slices.Equal(k.StaticPodURLHeader["a"], []string{"1", "3"}) || len(k.RegisterWithTaints) != 3 || k.RegisterWithTaints[0].Value != "v" {
		t.Errorf("got %+v", k)
	}
}
