package config

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/golden"
)

func asYAML(t *testing.T, v any) string {
	t.Helper()
	data, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The defaults with a config file and without one, every field, for the eye.
func TestDefaults(t *testing.T) {
	c, err := loadYAML("")
	if err != nil {
		t.Fatal(err)
	}
	golden.File(t, "defaults-file.golden", asYAML(t, c.Kubelet))
	golden.File(t, "defaults-flags.golden", asYAML(t, load(t, nil).Kubelet))
	if len(c.Warnings)+len(c.Notes) > 0 {
		t.Errorf("said %q %q", c.Warnings, c.Notes)
	}
}

func TestInstallers(t *testing.T) {
	tests := []struct {
		name, line string
		warnings   int
		check      func(c *Config, k *KubeletConfiguration) bool
	}{
		{"kubeadm", "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=testdata/kubeadm.yaml --node-ip=192.168.1.5 --hostname-override=NODE1 --register-with-taints=node-role.kubernetes.io/control-plane:NoSchedule --pod-infra-container-image=registry.k8s.io/pause:3.10", 1,
			func(c *Config, k *KubeletConfiguration) bool {
				return !c.Standalone() && c.HostnameOverride == "node1" && k.SyncFrequency.Duration == time.Minute && k.RuntimeRequestTimeout.Duration == 2*time.Minute &&
					k.NodeStatusReportFrequency.Duration == 5*time.Minute && k.ImageMinimumGCAge.Duration == 2*time.Minute && k.EvictionPressureTransitionPeriod.Duration == 5*time.Minute &&
					k.Authentication.Webhook.CacheTTL.Duration == 2*time.Minute && k.ContainerRuntimeEndpoint == "unix:///run/containerd/containerd.sock" && k.ReadOnlyPort == 0 &&
					len(k.EvictionHard) == 5 && k.StaticPodPath == "/etc/kubernetes/manifests" && !*k.Authentication.Anonymous.Enabled && len(k.RegisterWithTaints) == 1
			}},
		{"kind", "--config=testdata/kind.yaml --kubeconfig=/etc/kubernetes/kubelet.conf --node-ip=fc00:f853:ccd:e793::2 --node-labels= --provider-id=kind://docker/kind/kind-control-plane --runtime-cgroups=/system.slice/containerd.service --container-runtime-endpoint=unix:///run/containerd/containerd.sock", 1,
			func(c *Config, k *KubeletConfiguration) bool {
				return k.CgroupRoot == "/kubelet" && !*k.FailSwapOn && len(k.EvictionHard) == 3 && k.ProviderID == "kind://docker/kind/kind-control-plane" && c.Gate("KubeletInUserNamespace") && len(c.Notes) == 2
			}},
		{"k3s", "--cloud-provider=external --config-dir=testdata/k3s.d --containerd=/run/k3s/containerd/containerd.sock --hostname-override=k3s --kubeconfig=/var/lib/rancher/k3s/agent/kubelet.kubeconfig --node-ip=10.1.2.3,fd00::3 --node-labels=node.kubernetes.io/instance-type=k3s --read-only-port=0 --runtime-cgroups=/k3s --cert-dir=/var/lib/rancher/k3s/agent/pki --root-dir=/var/lib/kubelet --image-credential-provider-bin-dir=/b --image-credential-provider-config=/c", 1,
			func(c *Config, k *KubeletConfiguration) bool {
				return k.ReadOnlyPort == 0 && !*k.Authentication.Anonymous.Enabled && k.Authorization.Mode == "Webhook" && k.MaxPods == 250 && !*k.SerializeImagePulls &&
					cmp.Equal(k.EvictionHard, map[string]string{"imagefs.available": "5%", "nodefs.available": "5%", "memory.available": "200Mi"}) && len(c.NodeIPs) == 2 && !*k.FailCgroupV1
			}},
		{"EKS", "--config=testdata/eks.json --kubeconfig=/var/lib/kubelet/kubeconfig --cloud-provider=external --hostname-override=ip-10-0-0-1.ec2.internal --node-ip=10.0.0.1 --node-labels=eks.amazonaws.com/nodegroup=a,alpha.eksctl.io/cluster-name=b --register-with-taints=dedicated=x:NoSchedule --image-credential-provider-config=/etc/eks/c.json --image-credential-provider-bin-dir=/etc/eks/bin", 0,
			func(c *Config, k *KubeletConfiguration) bool {
				return k.MaxPods == 17 && k.ServerTLSBootstrap && k.Logging.Verbosity == 2 && len(k.TLSCipherSuites) == 6 && k.KubeReservedCgroup == "/runtime" && len(c.NodeLabels) == 2
			}},
		{"GKE", "--config=testdata/gke.yaml --kubeconfig=/k --node-labels=cloud.google.com/gke-nodepool=default-pool,node.kubernetes.io/exclude=x", 0,
			func(c *Config, k *KubeletConfiguration) bool {
				return k.ReadOnlyPort == 10255 && !*k.SerializeImagePulls && *k.MaxParallelImagePulls == 4 && k.CPUCFSQuotaPeriod.Duration == 50*time.Millisecond
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wd, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			c, err := Load(strings.Fields(tt.line), Env{WorkDir: wd})
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Warnings) != tt.warnings {
				t.Errorf("warnings %q, want %d", c.Warnings, tt.warnings)
			}
			if !tt.check(c, &c.Kubelet) {
				t.Errorf("values differ: notes %q\n%s", c.Notes, asYAML(t, c.Kubelet))
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	f := files{
		"/etc/k.yaml": head + "maxPods: 1\nport: 1001\nsyncFrequency: 1s\nclusterDNS: [10.0.0.1, 10.0.0.2]\nfeatureGates: {EventedPLEG: true, MemoryQoS: false}\nkubeReserved: {cpu: 1m, memory: 1Mi}\n" +
			"evictionHard: {memory.available: 1Mi}\nlogging: {verbosity: 1, format: json}\ncgroupRoot: /a\n",
		"/etc/d/10.conf":        head + "maxPods: 2\nport: 1002\nclusterDNS: [10.0.0.3]\nfeatureGates: {GracefulNodeShutdown: false}\nevictionHard: {nodefs.available: 2%}\n",
		"/etc/d/20.conf":        head + "maxPods: 3\nlogging: {verbosity: 2}\ncgroupRoot: null\nkubeReserved: {memory: null}\n",
		"/etc/d/deep/30.conf":   head + "podsPerCore: 9\n",
		"/etc/d/40.yaml":        "not read",
		"/etc/d/50.conf.backup": "not read",
	}
	c := load(t, f, "--max-pods=4", "--feature-gates=MemoryQoS=true", "--kube-reserved=cpu=5m", "--config-dir=/etc/d", "--config=/etc/k.yaml")
	k := c.Kubelet
	if k.MaxPods != 4 || k.Port != 1002 || k.SyncFrequency.Duration != time.Second || k.PodsPerCore != 9 {
		t.Errorf("single values: %d %d %s %d", k.MaxPods, k.Port, k.SyncFrequency.Duration, k.PodsPerCore)
	}
	if !slices.Equal(k.ClusterDNS, []string{"10.0.0.3"}) {
		t.Errorf("a list is replaced whole, got %q", k.ClusterDNS)
	}
	if want := map[string]bool{"EventedPLEG": true, "MemoryQoS": true, "GracefulNodeShutdown": false}; !cmp.Equal(k.FeatureGates, want) {
		t.Errorf("gates are merged one by one, got %v", k.FeatureGates)
	}
	if want := map[string]string{"memory.available": "1Mi", "nodefs.available": "2%"}; !cmp.Equal(k.EvictionHard, want) {
		t.Errorf("maps merge, got %v", k.EvictionHard)
	}
	if want := map[string]string{"cpu": "5m"}; !cmp.Equal(k.KubeReserved, want) {
		t.Errorf("other map flags replace, got %v", k.KubeReserved)
	}
	if k.Logging.Verbosity != 2 || k.Logging.Format != "json" {
		t.Errorf("nested maps merge, got %+v", k.Logging)
	}
	if k.CgroupRoot != "" {
		t.Errorf("null deletes, got %q", k.CgroupRoot)
	}
	if !c.IsSet("maxPods") || !c.IsSet("--max-pods") || !c.IsSet("podsPerCore") || !c.IsSet("clusterDNS") || c.IsSet("address") || c.IsSet("--port") {
		t.Error("IsSet does not know what was set")
	}
	// A file alone: what it does not say about reserved memory stays, and null there counts as not said.
	if k := load(t, files{"/k": head + "maxPods: null\nkubeReserved: {cpu: 1m}\n"}, "--config=/k").Kubelet; k.MaxPods != 110 || len(k.KubeReserved) != 1 {
		t.Errorf("null in the file: %d %v", k.MaxPods, k.KubeReserved)
	}
}

func TestDropInsWithoutFile(t *testing.T) {
	f := files{"/d/a.conf": head + "maxParallelImagePulls: 5\n"}
	k := load(t, f, "--config-dir=/d").Kubelet
	if !*k.Authentication.Anonymous.Enabled || *k.Authentication.Webhook.Enabled || k.Authorization.Mode != "AlwaysAllow" || k.ReadOnlyPort != 10255 {
		t.Error("the legacy values should hold under drop-ins")
	}
	if k.EvictionHard != nil || *k.SerializeImagePulls {
		t.Errorf("eviction %v, serialize %v", k.EvictionHard, *k.SerializeImagePulls)
	}
	f["/d/b.conf"] = head + "readOnlyPort: 0\nauthentication: {anonymous: {enabled: false}}\n"
	if k := load(t, f, "--config-dir=/d").Kubelet; k.ReadOnlyPort != 0 || *k.Authentication.Anonymous.Enabled || *k.Authentication.Webhook.Enabled {
		t.Error("drop-ins should win over the legacy values")
	}
	// Old spelling and drop-ins at once.
	f["/m/pod.yaml"] = "kind: Pod"
	if c := load(t, f, "--config-dir=/d", "--config=/m"); c.Kubelet.StaticPodPath != "/m" || len(c.Warnings) != 1 {
		t.Errorf("manifests at %q, %q", c.Kubelet.StaticPodPath, c.Warnings)
	}
}

func TestDefaultsThatDepend(t *testing.T) {
	tests := []struct {
		name, yaml, args string
		check            func(k *KubeletConfiguration) bool
	}{
		{"parallel pulls", "maxParallelImagePulls: 2", "", func(k *KubeletConfiguration) bool { return !*k.SerializeImagePulls }},
		{"one pull", "maxParallelImagePulls: 1", "", func(k *KubeletConfiguration) bool { return *k.SerializeImagePulls }},
		{"report follows update", "nodeStatusUpdateFrequency: 7s", "", func(k *KubeletConfiguration) bool { return k.NodeStatusReportFrequency.Duration == 7*time.Second }},
		{"report said", "nodeStatusUpdateFrequency: 7s\nnodeStatusReportFrequency: 1m", "", func(k *KubeletConfiguration) bool { return k.NodeStatusReportFrequency.Duration == time.Minute }},
		{"own thresholds only", "evictionHard: {memory.available: 1Gi}", "", func(k *KubeletConfiguration) bool { return len(k.EvictionHard) == 1 }},
		{"empty thresholds", "evictionHard: {}", "", func(k *KubeletConfiguration) bool { return len(k.EvictionHard) == 0 }},
		{"thresholds merged", "evictionHard: {memory.available: 1Gi}\nmergeDefaultEvictionSettings: true", "", func(k *KubeletConfiguration) bool {
			return len(k.EvictionHard) == 5 && k.EvictionHard["memory.available"] == "1Gi"
		}},
		{"threshold flag", "", "--eviction-hard=memory.available<2Gi", func(k *KubeletConfiguration) bool {
			return len(k.EvictionHard) == 1 && k.EvictionHard["memory.available"] == "2Gi"
		}},
		{"zero by flag", "syncFrequency: 5s", "--sync-frequency=0 --runtime-request-timeout=0s", func(k *KubeletConfiguration) bool {
			return k.SyncFrequency.Duration == time.Minute && k.RuntimeRequestTimeout.Duration == 2*time.Minute
		}},
		{"pull policy without gate", "featureGates: {KubeletEnsureSecretPulledImages: false}", "", func(k *KubeletConfiguration) bool { return k.ImagePullCredentialsVerificationPolicy == "" }},
		{"pull policy", "", "", func(k *KubeletConfiguration) bool {
			return k.ImagePullCredentialsVerificationPolicy == "NeverVerifyPreloadedImages"
		}},
		{"no host DNS", `resolvConf: ""`, "", func(k *KubeletConfiguration) bool { return *k.ResolverConfig == "" }},
		{"log dir with slash", "podLogsDir: /var/log/pods/", "", func(k *KubeletConfiguration) bool { return k.PodLogsDir == "/var/log/pods" }},
		{"zeros", "maxPods: 0\nport: 0\neventBurst: 0\nregistryBurst: 0\nregistryPullQPS: 0\nhealthzPort: 0\nmaxOpenFiles: 0", "", func(k *KubeletConfiguration) bool {
			return k.MaxPods == 110 && k.Port == 10250 && k.EventBurst == 100 && k.RegistryBurst == 10 && *k.RegistryPullQPS == 0 && *k.HealthzPort == 0 && k.MaxOpenFiles == 1000000
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := loadYAML(tt.yaml, strings.Fields(tt.args)...)
			if err != nil {
				t.Fatal(err)
			}
			if !tt.check(&c.Kubelet) {
				t.Error(asYAML(t, c.Kubelet))
			}
		})
	}
}

func TestRelativePaths(t *testing.T) {
	body := head + "staticPodPath: m\ntlsCertFile: a.crt\ntlsPrivateKeyFile: ../a.key\nresolvConf: r\nvolumePluginDir: v\npodLogsDir: l\nauthentication: {x509: {clientCAFile: ca.crt}}\n"
	f := files{"/work/conf/k.yaml": body, "/work/drop/a.conf": head + "staticPodPath: pods\n"}
	c := load(t, f, "--config=conf/k.yaml", "--root-dir=state", "--images=./img", "--kubeconfig=k.conf")
	k := c.Kubelet
	got := []string{c.ConfigFile, k.StaticPodPath, k.TLSCertFile, k.TLSPrivateKeyFile, *k.ResolverConfig, k.VolumePluginDir, k.PodLogsDir, k.Authentication.X509.ClientCAFile, c.RootDir, c.Ledger, c.Images, c.Kubeconfig, c.CertDir}
	want := []string{"/work/conf/k.yaml", "/work/conf/m", "/work/conf/a.crt", "/work/a.key", "/work/conf/r", "/work/conf/v", "/work/conf/l", "/work/conf/ca.crt", "/work/state", "/work/state/bosun.db", "/work/img", "/work/k.conf", "/var/lib/kubelet/pki"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if c := load(t, f, "--config=conf/k.yaml", "--config-dir=drop"); c.Kubelet.StaticPodPath != "/work/drop/pods" {
		t.Errorf("drop-in: %s", c.Kubelet.StaticPodPath)
	}
	if c := load(t, f, "--config=conf/k.yaml", "--pod-manifest-path=here"); c.Kubelet.StaticPodPath != "/work/here" {
		t.Errorf("flag: %s", c.Kubelet.StaticPodPath)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	f := files{
		"/empty": " \n", "/text": "hello", "/list": "- a\n", "/yaml": "a: [", "/nokind": "maxPods: 1", "/comment": "# nothing\n", "/null": "null",
		"/other": "kind: Deployment\napiVersion: apps/v1\n", "/d/a.conf": "maxPods: 1", "/d/b.conf": head + "maxPods: two",
		"/file": head,
	}
	tests := []struct {
		args string
		want []string
	}{
		{"--config=/empty", []string{"/empty: the file is empty"}},
		{"--config=/comment", []string{"/comment: want a KubeletConfiguration"}},
		{"--config=/null", []string{"/null: want a KubeletConfiguration"}},
		{"--config=/text", []string{"/text: want a KubeletConfiguration"}},
		{"--config=/list", []string{"/list: want a KubeletConfiguration"}},
		{"--config=/yaml", []string{"/yaml: the file is neither YAML nor JSON: "}},
		{"--config=/nokind", []string{"/nokind: apiVersion: is missing; want kubelet.config.k8s.io/v1beta1", "/nokind: kind: is missing; want KubeletConfiguration"}},
		{"--config=/other", []string{`/other: apiVersion: "apps/v1": want kubelet`, `/other: kind: "Deployment": want Kubelet`}},
		{"--config=/nowhere", []string{`--config: "/nowhere": there is no such file`}},
		{"--config-dir=/nowhere", []string{`--config-dir: "/nowhere": cannot be read`}},
		{"--config-dir=/file", []string{`--config-dir: "/file": is not a directory`}},
		{"--config-dir=/d --config=/text", []string{"/text: want", "/d/a.conf: apiVersion", "/d/a.conf: kind", "/d/b.conf: maxPods: \"two\": want a whole number"}},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			_, err := Load(strings.Fields(tt.args), Env{Files: f})
			wantProblems(t, err, tt.want...)
		})
	}
}

func TestLenientReading(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"unknown", head + "maxPod: 3\n", `unknown field "maxPod" is ignored; did you mean maxPods?`},
		{"stray metadata", head + "metadata: {name: config}\n", `unknown field "metadata" is ignored`},
		{"nested", head + "logging: {verbose: 3}\n", `unknown field "logging.verbose" is ignored`},
		{"wrong case", head + "maxpods: 3\n", `unknown field "maxpods" is ignored; did you mean maxPods?`},
		{"twice in YAML", head + "maxPods: 3\nmaxPods: 4\n", `line 4: key "maxPods" already set in map; the last one counts`},
		{"twice in JSON", `{"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io/v1beta1","maxPods":3,"maxPods":4}`, "the last one counts"},
		{"two documents", head + "maxPods: 4\n---\nkind: Pod\n", "only the first of several documents is read"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := load(t, files{"/k": tt.body}, "--config=/k")
			if len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0], "/k: ") || !strings.Contains(c.Warnings[0], tt.want) {
				t.Errorf("warnings %q, want one with %q", c.Warnings, tt.want)
			}
			if strings.HasPrefix(tt.name, "tw") && c.Kubelet.MaxPods != 4 {
				t.Errorf("maxPods %d, want the last one", c.Kubelet.MaxPods)
			}
		})
	}
}

func TestDisk(t *testing.T) {
	dir := t.TempDir()
	write := func(name, body string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("conf/b.conf", head+"maxPods: 2\n")
	write("conf/a/z.conf", head+"maxPods: 1\nport: 1234\n")
	write("big", head+"# "+strings.Repeat("x", maxFile))
	if err := os.Symlink(filepath.Join(dir, "conf"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	c, err := Load([]string{"--config-dir=link"}, Env{WorkDir: dir})
	if err != nil || c.Kubelet.MaxPods != 2 || c.Kubelet.Port != 1234 {
		t.Errorf("through a link: %v", err)
	}
	_, err = Load([]string{"--config=" + filepath.Join(dir, "big")}, Env{})
	wantProblems(t, err, "larger than")
}

// The package decides over values; one file reads.
func TestOnlyDiskReads(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			if imp.Path.Value == `"os"` && path != "disk.go" {
				t.Errorf("%s imports os; only disk.go may", path)
			}
		}
	}
}
