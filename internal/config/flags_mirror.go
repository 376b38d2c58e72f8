package config

// kc shortens the tables below.
type kc = KubeletConfiguration

// sourceFlags mirror the fields about pods, their sources, images and logs.
func sourceFlags() []flag {
	return []flag{
		mirror("pod-manifest-path", "staticPodPath", "file or directory of pod manifests", func(k *kc) value { return text(&k.StaticPodPath) }).in(common),
		mirror("manifest-url", "staticPodURL", "URL that gives a Pod or a PodList", func(k *kc) value { return text(&k.StaticPodURL) }).in(common),
		mirror("manifest-url-header", "staticPodURLHeader", "request headers for --manifest-url", func(k *kc) value { return headers(&k.StaticPodURLHeader) }).in(common),
		mirror("file-check-frequency", "fileCheckFrequency", "time between two full looks at --pod-manifest-path", func(k *kc) value { return duration(&k.FileCheckFrequency) }),
		mirror("http-check-frequency", "httpCheckFrequency", "time between two looks at --manifest-url", func(k *kc) value { return duration(&k.HTTPCheckFrequency) }),
		mirror("sync-frequency", "syncFrequency", "longest time between two full syncs of a running pod", func(k *kc) value { return duration(&k.SyncFrequency) }),
		mirror("container-runtime-endpoint", "containerRuntimeEndpoint", "the container runtime's CRI socket", func(k *kc) value { return text(&k.ContainerRuntimeEndpoint) }).in(common),
		mirror("image-service-endpoint", "imageServiceEndpoint", "CRI socket for images, when not the same", func(k *kc) value { return text(&k.ImageServiceEndpoint) }),
		mirror("runtime-request-timeout", "runtimeRequestTimeout", "time limit of calls to the runtime that should be short", func(k *kc) value { return duration(&k.RuntimeRequestTimeout) }),
		mirror("registry-qps", "registryPullQPS", "image pulls started per second; 0 means no limit", func(k *kc) value { return numberPtr(&k.RegistryPullQPS) }),
		mirror("registry-burst", "registryBurst", "image pulls that may start at once", func(k *kc) value { return number(&k.RegistryBurst) }),
		mirror("serialize-image-pulls", "serializeImagePulls", "pull one image at a time", func(k *kc) value { return onOffPtr(&k.SerializeImagePulls) }),
		mirror("minimum-image-ttl-duration", "imageMinimumGCAge", "age an unused image must reach before it may be removed", func(k *kc) value { return duration(&k.ImageMinimumGCAge) }),
		mirror("image-gc-high-threshold", "imageGCHighThresholdPercent", "percent of disk in use that starts image removal", func(k *kc) value { return numberPtr(&k.ImageGCHighThresholdPercent) }),
		mirror("image-gc-low-threshold", "imageGCLowThresholdPercent", "percent of disk in use that ends image removal", func(k *kc) value { return numberPtr(&k.ImageGCLowThresholdPercent) }),
		mirror("container-log-max-size", "containerLogMaxSize", "size at which a container's log file is rotated", func(k *kc) value { return text(&k.ContainerLogMaxSize) }),
		mirror("container-log-max-files", "containerLogMaxFiles", "log files to keep for a container", func(k *kc) value { return numberPtr(&k.ContainerLogMaxFiles) }),
		mirror("max-pods", "maxPods", "pods this node takes", func(k *kc) value { return number(&k.MaxPods) }),
		mirror("pods-per-core", "podsPerCore", "pods this node takes for each core; 0 means no such limit", func(k *kc) value { return number(&k.PodsPerCore) }),
		mirror("pod-max-pids", "podPidsLimit", "processes a pod may have; -1 means no limit", func(k *kc) value { return numberPtr(&k.PodPidsLimit) }),
		mirror("pod-cidr", "podCIDR", "range of pod IPs, in standalone mode", func(k *kc) value { return text(&k.PodCIDR) }),
		mirror("cluster-dns", "clusterDNS", "DNS servers for pods with dnsPolicy ClusterFirst", func(k *kc) value { return list(&k.ClusterDNS) }),
		mirror("cluster-domain", "clusterDomain", "DNS domain of the cluster", func(k *kc) value { return text(&k.ClusterDomain) }),
		mirror("resolv-conf", "resolvConf", `the host's resolver file, given to pods; "" gives none`, func(k *kc) value { return textPtr(&k.ResolverConfig) }),
		mirror("hairpin-mode", "hairpinMode", "no effect: the network plugin decides", func(k *kc) value { return text(&k.HairpinMode) }),
		mirror("allowed-unsafe-sysctls", "allowedUnsafeSysctls", "unsafe sysctls pods may set, or prefixes ending in *", func(k *kc) value { return list(&k.AllowedUnsafeSysctls) }),
		mirror("volume-plugin-dir", "volumePluginDir", "directory of FlexVolume drivers", func(k *kc) value { return text(&k.VolumePluginDir) }),
		mirror("volume-stats-agg-period", "volumeStatsAggPeriod", "time between two measurements of volumes; negative for none", func(k *kc) value { return duration(&k.VolumeStatsAggPeriod) }),
		mirror("enable-controller-attach-detach", "enableControllerAttachDetach", "leave attaching volumes to the controller", func(k *kc) value { return onOffPtr(&k.EnableControllerAttachDetach) }),
		mirror("feature-gates", "featureGates", "feature gates, added to those in the file; AllAlpha and AllBeta work", func(k *kc) value { return gateSwitches(&k.FeatureGates) }),
	}
}

// serverFlags mirror the fields about listening, authentication and logs.
func serverFlags() []flag {
	return []flag{
		mirror("enable-server", "enableServer", "run the HTTPS server on --port", func(k *kc) value { return onOffPtr(&k.EnableServer) }),
		mirror("address", "address", "IP for the servers on --port and --read-only-port", func(k *kc) value { return text(&k.Address) }),
		mirror("port", "port", "port of the HTTPS server", func(k *kc) value { return number(&k.Port) }),
		mirror("read-only-port", "readOnlyPort", "port of the server without authentication; 0 turns it off; 10255 when there is no --config", func(k *kc) value { return number(&k.ReadOnlyPort) }),
		mirror("healthz-port", "healthzPort", "port of the health server; 0 turns it off", func(k *kc) value { return numberPtr(&k.HealthzPort) }),
		mirror("healthz-bind-address", "healthzBindAddress", "IP of the health server", func(k *kc) value { return text(&k.HealthzBindAddress) }),
		mirror("tls-cert-file", "tlsCertFile", "serving certificate; without it one is made", func(k *kc) value { return text(&k.TLSCertFile) }),
		mirror("tls-private-key-file", "tlsPrivateKeyFile", "key of the serving certificate", func(k *kc) value { return text(&k.TLSPrivateKeyFile) }),
		mirror("tls-cipher-suites", "tlsCipherSuites", "allowed cipher suites, IANA names", func(k *kc) value { return list(&k.TLSCipherSuites) }),
		mirror("tls-min-version", "tlsMinVersion", "lowest TLS version: VersionTLS10 … VersionTLS13", func(k *kc) value { return text(&k.TLSMinVersion) }),
		mirror("rotate-certificates", "rotateCertificates", "renew the client certificate before it ends", func(k *kc) value { return onOff(&k.RotateCertificates) }),
		mirror("rotate-server-certificates", "serverTLSBootstrap", "ask the API server for the serving certificate", func(k *kc) value { return onOff(&k.ServerTLSBootstrap) }),
		mirror("client-ca-file", "authentication.x509.clientCAFile", "CA bundle that client certificates must be signed by", func(k *kc) value { return text(&k.Authentication.X509.ClientCAFile) }),
		mirror("anonymous-auth", "authentication.anonymous.enabled", "let requests without credentials in as system:anonymous; false with --config", func(k *kc) value { return onOffPtr(&k.Authentication.Anonymous.Enabled) }),
		mirror("authentication-token-webhook", "authentication.webhook.enabled", "let the API server review bearer tokens; true with --config", func(k *kc) value { return onOffPtr(&k.Authentication.Webhook.Enabled) }),
		mirror("authentication-token-webhook-cache-ttl", "authentication.webhook.cacheTTL", "time a token review is remembered", func(k *kc) value { return duration(&k.Authentication.Webhook.CacheTTL) }),
		mirror("authorization-mode", "authorization.mode", "AlwaysAllow or Webhook; Webhook with --config", func(k *kc) value { return text(&k.Authorization.Mode) }),
		mirror("authorization-webhook-cache-authorized-ttl", "authorization.webhook.cacheAuthorizedTTL", "time a yes is remembered", func(k *kc) value { return duration(&k.Authorization.Webhook.CacheAuthorizedTTL) }),
		mirror("authorization-webhook-cache-unauthorized-ttl", "authorization.webhook.cacheUnauthorizedTTL", "time a no is remembered", func(k *kc) value { return duration(&k.Authorization.Webhook.CacheUnauthorizedTTL) }),
		mirror("enable-debugging-handlers", "enableDebuggingHandlers", "serve logs, exec, attach and port-forward", func(k *kc) value { return onOffPtr(&k.EnableDebuggingHandlers) }),
		mirror("contention-profiling", "enableContentionProfiling", "profile blocking as well", func(k *kc) value { return onOff(&k.EnableContentionProfiling) }),
		mirror("streaming-connection-idle-timeout", "streamingConnectionIdleTimeout", "no effect", func(k *kc) value { return duration(&k.StreamingConnectionIdleTimeout) }),
		mirror("event-qps", "eventRecordQPS", "events sent per second; 0 means no limit", func(k *kc) value { return numberPtr(&k.EventRecordQPS) }),
		mirror("event-burst", "eventBurst", "events that may be sent at once", func(k *kc) value { return number(&k.EventBurst) }),
		mirror("kube-api-content-type", "contentType", "encoding of requests to the API server", func(k *kc) value { return text(&k.ContentType) }),
		mirror("kube-api-qps", "kubeAPIQPS", "requests to the API server per second", func(k *kc) value { return numberPtr(&k.KubeAPIQPS) }),
		mirror("kube-api-burst", "kubeAPIBurst", "requests to the API server at once", func(k *kc) value { return number(&k.KubeAPIBurst) }),
		mirror("logging-format", "logging.format", "text or json", func(k *kc) value { return text(&k.Logging.Format) }),
		mirror("log-text-split-stream", "logging.options.text.splitStream", "text: errors to stderr, the rest to stdout", func(k *kc) value { return onOff(&k.Logging.Options.Text.SplitStream) }),
		mirror("log-text-info-buffer-size", "logging.options.text.infoBufferSize", "text: buffer before stdout", func(k *kc) value { return quantity(&k.Logging.Options.Text.InfoBufferSize) }),
		mirror("log-json-split-stream", "logging.options.json.splitStream", "json: errors to stderr, the rest to stdout", func(k *kc) value { return onOff(&k.Logging.Options.JSON.SplitStream) }),
		mirror("log-json-info-buffer-size", "logging.options.json.infoBufferSize", "json: buffer before stdout", func(k *kc) value { return quantity(&k.Logging.Options.JSON.InfoBufferSize) }),
	}
}

// nodeFlags mirror the fields about the node object, its kernel and its network.
func nodeFlags() []flag {
	return []flag{
		mirror("register-node", "registerNode", "make the Node object when there is an API server", func(k *kc) value { return onOffPtr(&k.RegisterNode) }),
		mirror("register-with-taints", "registerWithTaints", "taints for the Node object when it is made", func(k *kc) value { return taints(&k.RegisterWithTaints) }),
		mirror("node-status-update-frequency", "nodeStatusUpdateFrequency", "time between two computations of node status", func(k *kc) value { return duration(&k.NodeStatusUpdateFrequency) }),
		mirror("node-status-max-images", "nodeStatusMaxImages", "images listed in node status; -1 lists all", func(k *kc) value { return numberPtr(&k.NodeStatusMaxImages) }),
		mirror("fail-swap-on", "failSwapOn", "refuse to start while swap is on", func(k *kc) value { return onOffPtr(&k.FailSwapOn) }),
		mirror("oom-score-adj", "oomScoreAdj", "Bosun's own OOM score adjustment, -1000 … 1000", func(k *kc) value { return numberPtr(&k.OOMScoreAdj) }),
		mirror("max-open-files", "maxOpenFiles", "files Bosun may have open", func(k *kc) value { return number(&k.MaxOpenFiles) }),
		mirror("make-iptables-util-chains", "makeIPTablesUtilChains", "keep the iptables chains other components look for", func(k *kc) value { return onOffPtr(&k.MakeIPTablesUtilChains) }),
		mirror("protect-kernel-defaults", "protectKernelDefaults", "fail instead of changing kernel settings", func(k *kc) value { return onOff(&k.ProtectKernelDefaults) }),
		mirror("local-storage-capacity-isolation", "localStorageCapacityIsolation", "account for ephemeral storage", func(k *kc) value { return onOffPtr(&k.LocalStorageCapacityIsolation) }),
	}
}

// resourceFlags mirror the fields about cgroups, reservations, eviction and pinning.
func resourceFlags() []flag {
	return []flag{
		mirror("cgroup-driver", "cgroupDriver", "cgroupfs or systemd; the runtime's own answer wins", func(k *kc) value { return text(&k.CgroupDriver) }),
		mirror("cgroup-root", "cgroupRoot", "cgroup under which the pods' cgroups are made", func(k *kc) value { return text(&k.CgroupRoot) }),
		mirror("cgroups-per-qos", "cgroupsPerQOS", "a cgroup for each quality-of-service class and pod", func(k *kc) value { return onOffPtr(&k.CgroupsPerQOS) }),
		mirror("kubelet-cgroups", "kubeletCgroups", "cgroup to move Bosun into", func(k *kc) value { return text(&k.KubeletCgroups) }),
		mirror("system-cgroups", "systemCgroups", "cgroup to move other processes into; needs --cgroup-root", func(k *kc) value { return text(&k.SystemCgroups) }),
		mirror("cpu-cfs-quota", "cpuCFSQuota", "enforce CPU limits", func(k *kc) value { return onOffPtr(&k.CPUCFSQuota) }),
		mirror("cpu-cfs-quota-period", "cpuCFSQuotaPeriod", "period of CPU limits, 1ms … 1s", func(k *kc) value { return durationPtr(&k.CPUCFSQuotaPeriod) }),
		mirror("system-reserved", "systemReserved", "kept for the system, as cpu=200m,memory=500Mi", func(k *kc) value { return pairs(&k.SystemReserved, "=") }),
		mirror("kube-reserved", "kubeReserved", "kept for Kubernetes' own processes, as cpu=200m,memory=500Mi", func(k *kc) value { return pairs(&k.KubeReserved, "=") }),
		mirror("reserved-cpus", "reservedSystemCPUs", "CPUs kept for system and Kubernetes, as 0-1,8", func(k *kc) value { return text(&k.ReservedSystemCPUs) }),
		mirror("reserved-memory", "reservedMemory", "memory kept on each NUMA node", func(k *kc) value { return numaMemory(&k.ReservedMemory) }),
		mirror("system-reserved-cgroup", "systemReservedCgroup", "cgroup --system-reserved is enforced on", func(k *kc) value { return text(&k.SystemReservedCgroup) }),
		mirror("kube-reserved-cgroup", "kubeReservedCgroup", "cgroup --kube-reserved is enforced on", func(k *kc) value { return text(&k.KubeReservedCgroup) }),
		mirror("enforce-node-allocatable", "enforceNodeAllocatable", "which reservations are enforced", func(k *kc) value { return list(&k.EnforceNodeAllocatable) }),
		mirror("qos-reserved", "qosReserved", "percent of requests kept from lower classes, as memory=50% (alpha)", func(k *kc) value { return pairs(&k.QOSReserved, "=") }),
		mirror("eviction-hard", "evictionHard", "thresholds that evict at once, as memory.available<1Gi", func(k *kc) value { return pairs(&k.EvictionHard, "<") }),
		mirror("eviction-soft", "evictionSoft", "thresholds that evict after --eviction-soft-grace-period", func(k *kc) value { return pairs(&k.EvictionSoft, "<") }),
		mirror("eviction-soft-grace-period", "evictionSoftGracePeriod", "grace of soft thresholds, as memory.available=30s", func(k *kc) value { return pairs(&k.EvictionSoftGracePeriod, "=") }),
		mirror("eviction-minimum-reclaim", "evictionMinimumReclaim", "least to win back, as imagefs.available=2Gi", func(k *kc) value { return pairs(&k.EvictionMinimumReclaim, "=") }),
		mirror("eviction-pressure-transition-period", "evictionPressureTransitionPeriod", "time before a pressure condition is cleared", func(k *kc) value { return duration(&k.EvictionPressureTransitionPeriod) }),
		mirror("eviction-max-pod-grace-period", "evictionMaxPodGracePeriod", "longest grace, in seconds, of a soft eviction", func(k *kc) value { return number(&k.EvictionMaxPodGracePeriod) }),
		mirror("kernel-memcg-notification", "kernelMemcgNotification", "let the kernel tell of memory pressure", func(k *kc) value { return onOff(&k.KernelMemcgNotification) }),
		mirror("cpu-manager-policy", "cpuManagerPolicy", "none or static", func(k *kc) value { return text(&k.CPUManagerPolicy) }),
		mirror("cpu-manager-policy-options", "cpuManagerPolicyOptions", "fine tuning of the static CPU policy", func(k *kc) value { return pairs(&k.CPUManagerPolicyOptions, "=") }),
		mirror("cpu-manager-reconcile-period", "cpuManagerReconcilePeriod", "time between two checks of CPU sets", func(k *kc) value { return duration(&k.CPUManagerReconcilePeriod) }),
		mirror("memory-manager-policy", "memoryManagerPolicy", "None or Static", func(k *kc) value { return text(&k.MemoryManagerPolicy) }),
		mirror("topology-manager-policy", "topologyManagerPolicy", "none, best-effort, restricted or single-numa-node", func(k *kc) value { return text(&k.TopologyManagerPolicy) }),
		mirror("topology-manager-scope", "topologyManagerScope", "container or pod", func(k *kc) value { return text(&k.TopologyManagerScope) }),
		mirror("topology-manager-policy-options", "topologyManagerPolicyOptions", "fine tuning of the topology policy", func(k *kc) value { return pairs(&k.TopologyManagerPolicyOptions, "=") }),
	}
}
