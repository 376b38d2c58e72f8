package config

import (
	"strings"
	"testing"

	"github.com/bosun-project/bosun/internal/golden"
)

// Every rule, once broken. Each line of want is one problem, in the order Load gives them; none means the file is right.
func TestRules(t *testing.T) {
	tests := []struct{ yaml, want string }{
		// pods
		{"syncFrequency: -1s", "syncFrequency: -1s: want more than 0s"},
		{"fileCheckFrequency: -1s", "fileCheckFrequency: -1s: want more than 0s"},
		{"httpCheckFrequency: -1s", "httpCheckFrequency: -1s: want more than 0s"},
		{"staticPodURL: ftp://user:pw@h/x?token=t", `staticPodURL: "ftp://masked@h/x?masked": want a URL`},
		{"staticPodURL: 'http://%zz'", `staticPodURL: "<masked>": want a URL`},
		{"staticPodURL: https://h/pods", ""},
		{"staticPodURLHeader: {'a b': [x]}", `staticPodURLHeader: "a b": want a header name`},
		{`staticPodURLHeader: {a: ["x\ny"]}`, `staticPodURLHeader: "a": the header's value holds a line break`},
		{"maxPods: -1", "maxPods: -1: want 0 or more"},
		{"podsPerCore: -1", "podsPerCore: -1: want 0 or more"},
		{"podPidsLimit: -2", "podPidsLimit: -2: want -1 for no limit"},
		{"podPidsLimit: -1", ""},
		{"runOnce: true", "runOnce: true: is retired"},
		{"runOnce: false", ""},
		{"clusterDNS: [10.0.0.1, x]", `clusterDNS: "x": want an IP address in place 2`},
		{"podCIDR: 10.0.0.0", `podCIDR: "10.0.0.0": want an IP range`},
		{"podCIDR: '10.0.0.0/16,fd00::/64'", ""},
		{"hairpinMode: loop", `hairpinMode: "loop": want one of: promiscuous-bridge`},
		{"configMapAndSecretChangeDetectionStrategy: Poll", "want one of: Watch, Cache, Get"},
		{"podLogsDir: /var/../log", "want an absolute path"},
		{"podLogsDir: /var/log/pöds", "want an absolute path"},
		{"podLogsDir: /var//log", "want an absolute path"},
		{"containerLogMaxSize: big", `containerLogMaxSize: "big": want a size`},
		{"containerLogMaxFiles: 1", "containerLogMaxFiles: 1: want 2 or more"},
		{"containerLogMaxWorkers: 0", "containerLogMaxWorkers: 0: want 1 or more"},
		{"containerLogMonitorInterval: 2s", "containerLogMonitorInterval: 2s: want 3s or more"},
		{"crashLoopBackOff: {maxContainerRestartPeriod: 999ms}", "want 1s to 5m0s"},
		{"crashLoopBackOff: {maxContainerRestartPeriod: 301s}", "want 1s to 5m0s"},
		{"crashLoopBackOff: {maxContainerRestartPeriod: 1s}", ""},
		{"crashLoopBackOff: {maxContainerRestartPeriod: 1s}\nfeatureGates: {KubeletCrashLoopBackOffMax: false}", "needs feature gate KubeletCrashLoopBackOffMax"},
		{"allowedUnsafeSysctls: [kernel.sem, kernel.msg*, 'net.*', net/core/somaxconn, fs.mqueue.*]", ""},
		{"allowedUnsafeSysctls: ['kernel.*']", `"kernel.*": want kernel.shm*`},
		{"allowedUnsafeSysctls: [vm.swappiness]", `"vm.swappiness": want kernel.shm*`},
		{"allowedUnsafeSysctls: ['net.*.x']", "want a sysctl's name"},
		{"defaultPodSysctls: {net.ipv4.ip_forward: '1'}", "needs feature gate DefaultPodSysctls"},
		{"defaultPodSysctls: {vm.overcommit_memory: '1'}\nfeatureGates: {DefaultPodSysctls: true}", "want kernel.shm*"},
		{"defaultPodSysctls: {user.max_user_namespaces: '1'}\nfeatureGates: {AllAlpha: true}", ""},
		{"userNamespaces: {idsPerPod: 65537}", "want a multiple of 65536"},
		{"userNamespaces: {idsPerPod: 4294967296}", "want a multiple of 65536"},
		{"userNamespaces: {idsPerPod: 131072}", ""},
		// images and runtime
		{"containerRuntimeEndpoint: tcp://127.0.0.1:1", "want a socket such as unix:///"},
		{"imageServiceEndpoint: npipe:////./pipe/x", "want a socket such as unix:///"},
		{"imageServiceEndpoint: /run/x.sock", ""},
		{"runtimeRequestTimeout: -1s", "want more than 0s"},
		{"registryPullQPS: -1", "registryPullQPS: -1: want 0 or more"},
		{"registryBurst: -1", "registryBurst: -1: want 0 or more"},
		{"maxParallelImagePulls: 0", "want 1 or more"},
		{"maxParallelImagePulls: 2\nserializeImagePulls: true", "set that to false"},
		{"maxParallelImagePulls: 1\nserializeImagePulls: true", ""},
		{"imageMinimumGCAge: -1s", "imageMinimumGCAge: -1s: want 0s or more"},
		{"imageMaximumGCAge: 2m", "more than imageMinimumGCAge, which is 2m0s"},
		{"imageMaximumGCAge: -2m", "imageMaximumGCAge: -2m0s: want 0s or more"},
		{"imageGCHighThresholdPercent: 101", "imageGCHighThresholdPercent: 101: want 0 to 100"},
		{"imageGCLowThresholdPercent: -1", "imageGCLowThresholdPercent: -1: want 0 to 100"},
		{"imageGCLowThresholdPercent: 85", "want less than imageGCHighThresholdPercent, which is 85"},
		{"imagePullCredentialsVerificationPolicy: Sometimes", "want one of: NeverVerify, "},
		{"imagePullCredentialsVerificationPolicy: AlwaysVerify\nfeatureGates: {KubeletEnsureSecretPulledImages: false}", "needs feature gate"},
		{"preloadedImagesVerificationAllowlist: [a/b]", "is used only with"},
		{"imagePullCredentialsVerificationPolicy: NeverVerifyAllowlistedImages\npreloadedImagesVerificationAllowlist: [reg:5000/a/b, 'reg/*']", ""},
		{"imagePullCredentialsVerificationPolicy: NeverVerifyAllowlistedImages\npreloadedImagesVerificationAllowlist: [a/b:1, 'a/*b', a/b@sha256:1, a/b, a/b]", "without tag or digest\nwithout tag or digest\nwithout tag or digest\nis named twice"},
		// servers
		{"address: here", `address: "here": want an IP address`},
		{"healthzBindAddress: localhost", `healthzBindAddress: "localhost": want an IP address`},
		{"address: '::'", ""},
		{"port: 65536", "port: 65536: want 1 to 65535"},
		{"readOnlyPort: 65536", "readOnlyPort: 65536: want 0 to 65535"},
		{"healthzPort: -1", "healthzPort: -1: want 0 to 65535"},
		{"tlsCertFile: /c", "tlsPrivateKeyFile: \"\": want a file, since tlsCertFile is set"},
		{"tlsPrivateKeyFile: /c", "tlsCertFile: \"\": want a file, since tlsPrivateKeyFile is set"},
		{"tlsMinVersion: TLS1.2", "want one of: VersionTLS10"},
		{"tlsMinVersion: VersionTLS13", ""},
		{"tlsCipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA257]", "did you mean TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256?"},
		{"tlsCipherSuites: [none]", "want an IANA name"},
		{"tlsCurvePreferences: [29, 4588]", ""},
		{"tlsCurvePreferences: [1, 65565]", "want the number of a curve\nwant the number of a curve"},
		{"serverTLSBootstrap: true\nfeatureGates: {RotateKubeletServerCertificate: false}", "needs feature gate RotateKubeletServerCertificate"},
		{"authorization: {mode: RBAC}", `authorization.mode: "RBAC": want one of: AlwaysAllow, Webhook`},
		{"authentication: {webhook: {cacheTTL: -1s}}", "authentication.webhook.cacheTTL: -1s"},
		{"authorization: {webhook: {cacheAuthorizedTTL: -1s}}", "authorization.webhook.cacheAuthorizedTTL: -1s"},
		{"authorization: {webhook: {cacheUnauthorizedTTL: -1s}}", "authorization.webhook.cacheUnauthorizedTTL: -1s"},
		{"eventRecordQPS: -1", "eventRecordQPS: -1: want 0 or more"},
		{"eventBurst: -1", "eventBurst: -1: want 0 or more"},
		{"kubeAPIBurst: -1", "kubeAPIBurst: -1: want 0 or more"},
		{"kubeAPIQPS: -1", ""},
		{"enableSystemLogQuery: true\nenableSystemLogHandler: false", "needs enableSystemLogHandler true"},
		{"enableSystemLogQuery: true", ""},
		{"showHiddenMetricsForVersion: '1.30'", `want "1.36"`},
		{"tracing: {samplingRatePerMillion: 1000001}", "tracing.samplingRatePerMillion: 1000001: want 0 to 1000000"},
		{"tracing: {endpoint: ''}", "tracing.endpoint: \"\": want host:port"},
		// node
		{"nodeStatusUpdateFrequency: -1s\nnodeStatusReportFrequency: -1s", "nodeStatusUpdateFrequency: -1s\nnodeStatusReportFrequency: -1s"},
		{"nodeLeaseDurationSeconds: -1", "nodeLeaseDurationSeconds: -1: want 1 or more"},
		{"nodeStatusMaxImages: -2", "nodeStatusMaxImages: -2: want -1 or more"},
		{"oomScoreAdj: 1001", "oomScoreAdj: 1001: want -1000 to 1000"},
		{"maxOpenFiles: -1", "maxOpenFiles: -1: want 0 or more"},
		{"iptablesMasqueradeBit: 32\niptablesDropBit: -1", "iptablesMasqueradeBit: 32: want 0 to 31\niptablesDropBit: -1: want 0 to 31"},
		{"registerWithTaints: [{key: 'a b', effect: NoSchedule}, {key: a, value: 'x y', effect: NoSchedule}, {key: b, effect: Never}, {key: c, effect: NoExecute}, {key: c, effect: NoExecute}]",
			"the key is wrong\nthe value is wrong\nwant effect NoSchedule\nkey and effect are named twice"},
		// cgroups and resources
		{"cgroupDriver: cgroup", "want one of: cgroupfs, systemd"},
		{"systemCgroups: /system", "systemCgroups: \"/system\": needs cgroupRoot"},
		{"cpuCFSQuotaPeriod: 999us", "want 1ms to 1s"},
		{"cpuCFSQuotaPeriod: 1001ms", "want 1ms to 1s"},
		{"cpuCFSQuotaPeriod: 5ms\nfeatureGates: {CustomCPUCFSQuotaPeriod: false}", "needs feature gate CustomCPUCFSQuotaPeriod"},
		{"memorySwap: {swapBehavior: UnlimitedSwap}", `memorySwap.swapBehavior: "UnlimitedSwap": want one of: NoSwap, LimitedSwap`},
		{"memoryThrottlingFactor: 0", "want more than 0 and at most 1"},
		{"memoryThrottlingFactor: 0.9", ""},
		{"memoryThrottlingFactor: 0.9\nfeatureGates: {MemoryQoS: false}", "needs feature gate MemoryQoS"},
		{"memoryReservationPolicy: All", "want one of: None, TieredReservation"},
		{"memoryReservationPolicy: TieredReservation\nfeatureGates: {MemoryQoS: false}", "needs feature gate MemoryQoS"},
		{"qosReserved: {memory: 50%}", "needs feature gate QOSReserved"},
		{"qosReserved: {memory: NaN%, cpu: 50%}\nfeatureGates: {QOSReserved: true}", `"cpu=50%": want memory` + "\n" + `"memory=NaN%": want memory`},
		{"systemReserved: {cpu: 100m, memory: 1Gi, ephemeral-storage: 1Gi, pid: '1000'}", ""},
		{"systemReserved: {hugepages-2Mi: 1Gi}", "want one of: cpu, memory"},
		{"kubeReserved: {cpu: '-1', memory: much}", `"cpu=-1": want a quantity` + "\n" + `"memory=much": want a quantity`},
		{"reservedSystemCPUs: 0-1,8", ""},
		{"reservedSystemCPUs: a", "want CPU numbers and ranges"},
		{"reservedSystemCPUs: 3-1", "want CPU numbers and ranges"},
		{"reservedSystemCPUs: '0'\nkubeReservedCgroup: /k", "cannot be used together"},
		{"cgroupsPerQOS: false", "needs cgroupsPerQOS true"},
		{"cgroupsPerQOS: false\nenforceNodeAllocatable: [none]", ""},
		{"cgroupsPerQOS: false\nenforceNodeAllocatable: []", ""},
		{"enforceNodeAllocatable: [pods, none]", "none: stands alone"},
		{"enforceNodeAllocatable: [pods, pods]", "pods: is named twice"},
		{"enforceNodeAllocatable: [everything]", "want one of: none, pods"},
		{"enforceNodeAllocatable: [system-reserved, kube-reserved-compressible]", "needs systemReservedCgroup\nneeds kubeReservedCgroup"},
		{"enforceNodeAllocatable: [kube-reserved, kube-reserved-compressible]\nkubeReservedCgroup: /k", "cannot be used together with kube-reserved"},
		{"reservedMemory: [{numaNode: -1, limits: {cpu: 1, memory: 0}}, {numaNode: 0, limits: {memory: 1}}, {numaNode: 0, limits: {memory: 1}}]",
			"want a NUMA node of 0 or more\nwant memory or hugepages\nwant a NUMA node\nwant more than 0\nnamed twice"},
		{"memoryManagerPolicy: Static\nkubeReserved: {memory: 1Gi}\nreservedMemory: [{numaNode: 0, limits: {memory: 1Gi}}]", "must add up to 1124Mi"},
		{"memoryManagerPolicy: Static\nkubeReserved: {memory: 924Mi}\nreservedMemory: [{numaNode: 0, limits: {memory: 1Gi, hugepages-2Mi: 2Mi}}]", ""},
		{"memoryManagerPolicy: Static\nevictionHard: {memory.available: 5%}", ""},
		{"cpuManagerPolicy: Static", "want one of: none, static"},
		{"cpuManagerPolicyOptions: {full-pcpus-only: 'true'}", "needs cpuManagerPolicy static"},
		{"cpuManagerPolicy: static\ncpuManagerPolicyOptions: {full-pcpus-only: 'so', fast: 'true', align-by-socket: 'true'}", "needs feature gate CPUManagerPolicyAlphaOptions\nwant one of: align-by-socket\nwant true or false"},
		{"cpuManagerReconcilePeriod: -1s", "want more than 0s"},
		{"memoryManagerPolicy: static", "want one of: None, Static"},
		{"topologyManagerPolicy: strict", "want one of: none, best-effort"},
		{"topologyManagerScope: node", "want one of: container, pod"},
		{"topologyManagerPolicyOptions: {prefer-closest-numa-nodes: 'true'}", "needs a topologyManagerPolicy other than none"},
		{"topologyManagerPolicy: restricted\ntopologyManagerPolicyOptions: {max-allowable-numa-nodes: '7'}", "want a number of 8 or more"},
		// eviction, shutdown, logging
		{"evictionHard: {memory.free: 1Mi}", "there is no such signal"},
		{"evictionHard: {containerfs.available: 5%}", "leave it out"},
		{"evictionHard: {memory.available: 101%}", "want an amount such as 100Mi"},
		{"evictionHard: {memory.available: -1Mi, pid.available: 100%, allocatableMemory.available: '1'}", `"memory.available=-1Mi": want an amount`},
		{"evictionHard: {memory.available: '0'}", "want more than nothing"},
		{"evictionHard: {memory.available: 0%}\nevictionMinimumReclaim: {memory.available: '0'}", ""},
		{"evictionSoft: {memory.available: 1Mi}", "needs a grace period of that name"},
		{"evictionSoft: {memory.available: 1Mi}\nevictionSoftGracePeriod: {memory.available: 1m, nodefs.x: 1m}", "there is no such signal"},
		{"evictionSoftGracePeriod: {memory.available: '-1m'}", `want a duration such as "1m30s"`},
		{"evictionMinimumReclaim: {memory.available: lots}", "want an amount"},
		{"evictionPressureTransitionPeriod: -1s", "want 0s or more"},
		{"shutdownGracePeriod: 999ms", "shutdownGracePeriod: 999ms: want 0s for off, or 1s or more"},
		{"shutdownGracePeriod: 30s\nshutdownGracePeriodCriticalPods: 31s", "cannot be more than that, which is 30s"},
		{"shutdownGracePeriod: 30s\nfeatureGates: {GracefulNodeShutdown: false}", "needs feature gate GracefulNodeShutdown"},
		{"shutdownGracePeriod: 30s\nshutdownGracePeriodByPodPriority: [{priority: 1, shutdownGracePeriodSeconds: 1}]", "cannot be used together"},
		{"shutdownGracePeriodByPodPriority: [{priority: 1, shutdownGracePeriodSeconds: 1}, {priority: 1, shutdownGracePeriodSeconds: -1}]", "priority 1: is named twice\nwant 0 seconds or more"},
		{"shutdownGracePeriodByPodPriority: [{priority: 1, shutdownGracePeriodSeconds: 1}]\nfeatureGates: {GracefulNodeShutdownBasedOnPodPriority: false}", "needs feature gate GracefulNodeShutdownBasedOnPodPriority"},
		{"logging: {format: xml}", `logging.format: "xml": want one of: text, json`},
		{"logging: {flushFrequency: -1s}", "logging.flushFrequency: -1s: want 0s or more"},
		{"logging: {format: json, vmodule: [{filePattern: a, verbosity: 1}]}", "works with logging.format text only"},
		{"logging: {vmodule: [{filePattern: 'a=b', verbosity: 1}]}", "want a file's name without .go"},
		{"logging: {options: {text: {splitStream: true}, json: {infoBufferSize: 1Ki}}}", "logging.options.text.splitStream: true: needs feature gate LoggingAlphaOptions\nlogging.options.json.infoBufferSize: 1Ki: needs"},
		{"logging: {options: {text: {infoBufferSize: '-1'}}}", "want 0 or more"},
		// gates
		{"featureGates: {NodeSwap: false}", "featureGates: NodeSwap=false: the gate is GA and locked to true"},
		{"featureGates: {GitRepoVolumeDriver: true}", "the gate is deprecated and locked to false"},
		{"featureGates: {GracefulNodeShutdwon: true}", "did you mean GracefulNodeShutdown?"},
		{"featureGates: {Accelerators: true}", "there is no such feature gate in Kubernetes 1.37"},
	}
	for _, tt := range tests {
		t.Run(tt.yaml, func(t *testing.T) {
			_, err := loadYAML(tt.yaml)
			var want []string
			if tt.want != "" {
				want = strings.Split(tt.want, "\n")
			}
			wantProblems(t, err, want...)
		})
	}
}

func TestFlagRules(t *testing.T) {
	tests := []struct {
		args string
		want []string
	}{
		{"--cloud-provider=aws", []string{`--cloud-provider: "aws": want external or nothing`}},
		{"--cloud-provider=external --lock-file=/l --exit-on-lock-contention", nil},
		{"--exit-on-lock-contention", []string{"--exit-on-lock-contention: true: needs --lock-file"}},
		{"--image-credential-provider-config=/c", []string{"want both this flag and --image-credential-provider-bin-dir"}},
		{"--image-credential-provider-bin-dir=/c", []string{"want both this flag"}},
		{"--housekeeping-interval=0s", []string{"--housekeeping-interval: 0s: want more than 0s"}},
		{"--minimum-container-ttl-duration=-1s", []string{"want 0s or more"}},
		{"--root-dir=", []string{"--root-dir: \"\": want a directory"}},
		{"--hostname-override=a_b", []string{`--hostname-override: "a_b": cannot be a node's name`}},
		{"--node-ip=10.0.0.1,fd00::1", nil},
		{"--node-ip=::", nil},
		{"--node-ip=10.0.0.1,10.0.0.2", []string{"both are of one family"}},
		{"--node-ip=10.0.0.1,::", []string{"choose a family and stand alone"}},
		{"--node-ip=10.0.0.1,fd00::1,fd00::2", []string{"these are 3"}},
		{"--node-ip=224.0.0.1", []string{"multicast"}},
		{"--container-runtime-endpoint=", []string{`--container-runtime-endpoint (containerRuntimeEndpoint): "": want a socket`}},
		{"--max-pods=-1 --eviction-hard=memory.available<x", []string{"--max-pods (maxPods): -1: want 0 or more", "--eviction-hard (evictionHard): \"memory.available=x\": want an amount"}},
		{"--feature-gates=NodeSwap=false", []string{"--feature-gates (featureGates): NodeSwap=false: the gate is GA"}},
		{"--log-flush-frequency=-1s -v=2", []string{"--log-flush-frequency (logging.flushFrequency): -1s"}},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			_, err := Load(strings.Fields(tt.args), Env{Files: files{}})
			wantProblems(t, err, tt.want...)
		})
	}
}

func TestNodeLabels(t *testing.T) {
	good := `app=web example.com/x=y node.kubernetes.io/instance-type=m5 node.kubernetes.io/anything=1 kubelet.kubernetes.io/x=1 sub.node.kubernetes.io/x=1
		a.kubelet.kubernetes.io/b=c kubernetes.io/hostname=h kubernetes.io/os=linux kubernetes.io/arch=amd64 beta.kubernetes.io/os=linux beta.kubernetes.io/arch=arm64
		topology.kubernetes.io/zone=z topology.kubernetes.io/region=r failure-domain.beta.kubernetes.io/zone=z failure-domain.beta.kubernetes.io/region=r
		beta.kubernetes.io/instance-type=m5 notkubernetes.io/x=1 notk8s.io/y=1 empty=`
	for label := range strings.FieldsSeq(good) {
		if _, err := Load([]string{"--node-labels=" + label}, Env{Files: files{}}); err != nil {
			t.Errorf("%s: %v", label, err)
		}
	}
	for label, want := range map[string]string{
		"node-role.kubernetes.io/master=":       "below node-role.kubernetes.io",
		"kubernetes.io/role=x":                  "below kubernetes.io",
		"node-restriction.kubernetes.io/team=a": "below node-restriction.kubernetes.io",
		"k8s.io/x=y":                            "below k8s.io",
		"a.k8s.io/x=y":                          "below a.k8s.io",
		"topology.kubernetes.io/rack=1":         "below topology.kubernetes.io",
		"xnode.kubernetes.io/a=b":               "below xnode.kubernetes.io",
		"a/b/c=d":                               "the key is wrong",
		"a=b c":                                 "the value is wrong",
	} {
		_, err := Load([]string{"--node-labels=" + label}, Env{Files: files{}})
		wantProblems(t, err, want)
	}
}

// One thoroughly bad file, and all that is said about it.
func TestBadFile(t *testing.T) {
	c, err := Load([]string{"--config=testdata/bad.yaml", "--node-labels=k8s.io/x=1", "--max-podz=3", "--cloud-provider=gce", "--pods-per-core=-3"}, Env{})
	if err == nil {
		t.Fatal("loaded")
	}
	if strings.Contains(err.Error(), "secret") {
		t.Error("a secret is shown")
	}
	golden.File(t, "bad.golden", err.Error()+"\n"+strings.Join(c.Warnings, "\n")+"\n")
}

func TestGates(t *testing.T) {
	c, err := loadYAML("featureGates: {AllAlpha: true, AllBeta: false, EventedPLEG: false, MemoryQoS: true, NodeSwap: true, WatchList: true}")
	if err != nil {
		t.Fatal(err)
	}
	for gate, want := range map[string]bool{
		"EventedPLEG": false, "QOSReserved": true, "MemoryQoS": true, "GracefulNodeShutdown": false, "NodeSwap": true, "CustomCPUCFSQuotaPeriod": true,
		"GitRepoVolumeDriver": false, "KubeletPodResourcesListUseActivePods": true, "WatchList": false, "Nonsense": false,
	} {
		if c.Gate(gate) != want {
			t.Errorf("%s is %t, want %t", gate, !want, want)
		}
	}
	if len(c.Notes) != 2 || !strings.Contains(c.Notes[0], "NodeSwap") || !strings.Contains(c.Notes[1], "WatchList") {
		t.Errorf("notes %q", c.Notes)
	}
	for name := range otherGates() {
		if _, both := gateTable()[name]; both {
			t.Errorf("%s is in both tables", name)
		}
	}
	for name, g := range gateTable() {
		if g.stage == ga != g.on && g.stage == ga || g.stage == alpha && g.on {
			t.Errorf("%s: %s and on=%t do not go together", name, g.stage, g.on)
		}
	}
}
