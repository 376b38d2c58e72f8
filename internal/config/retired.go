package config

import "strings"

// retired is a flag upstream has removed. Bosun takes it, does nothing with it, and says once what to use instead.
type retired struct {
	name string
	// isSwitch is true when the flag stood alone, so that the next argument is not taken for its value.
	isSwitch bool
	instead  string
}

// The retired flags, by what is to be said about them. A name that ends in ! was a switch. A name that takes a value and is
// still given without one would swallow the argument after it, so this must be right.
func retiredGroups() [][2]string {
	return [][2]string{
		{"allow-privileged!",
			"privileged containers are always allowed; refuse them with Pod Security admission in the API server"},
		{"pod-infra-container-image",
			"the container runtime chooses the pause image; set it there (containerd: sandbox under [plugins…pinned_images])"},
		{"runonce!",
			"Bosun keeps running and so do its pods; for work that ends use restartPolicy Never or OnFailure"},
		{"cadvisor-port enable-cadvisor-json-endpoints!",
			"the cAdvisor server is gone; read /metrics/cadvisor on --port instead"},
		{"container-runtime enable-cri! experimental-cri! experimental-runtime-integration-type docker docker-endpoint rkt-path rkt-api-endpoint rkt-stage1-image",
			"Bosun speaks CRI only; name the runtime's socket with --container-runtime-endpoint"},
		{"docker-exec-handler docker-root docker-only! docker-env-metadata-whitelist docker-tls! docker-tls-ca docker-tls-cert docker-tls-key docker-run docker-disable-shared-pid! experimental-dockershim! experimental-dockershim-root-directory containerized!",
			"Docker is not driven directly any more; run containerd, or cri-dockerd, and set --container-runtime-endpoint"},
		{"image-pull-progress-deadline",
			"set the limit in the container runtime (containerd: image_pull_progress_timeout)"},
		{"api-servers auth-path google-json-key etcd-servers etcd-config",
			"put server and credentials into a kubeconfig file and name it with --kubeconfig"},
		{"require-kubeconfig!",
			"--kubeconfig alone now means that there is an API server, and leaving it out that there is none"},
		{"experimental-bootstrap-kubeconfig",
			"use --bootstrap-kubeconfig"},
		{"log-dir log-file log-file-max-size logtostderr! alsologtostderr! stderrthreshold log-backtrace-at skip-headers! skip-log-headers! add-dir-header! one-output!",
			"Bosun logs to stderr; let the service manager keep the log, and use --v and --logging-format to shape it"},
		{"experimental-logging-sanitization! log-cadvisor-usage!",
			"it has no successor; secrets are never logged, and --v decides how much is"},
		{"network-plugin network-plugin-dir network-plugin-mtu cni-conf-dir cni-bin-dir cni-cache-dir experimental-flannel-overlay!",
			"pod networking is set up by the container runtime; set CNI's directories there (containerd: [plugins…cni] conf_dir and bin_dirs)"},
		{"configure-cbr0! reconcile-cidr! non-masquerade-cidr",
			"pod networking is set up by the container runtime's CNI plugins; set it in their configuration"},
		{"iptables-masquerade-bit iptables-drop-bit",
			"packets are no longer marked by the kubelet; the config file fields of that name have no effect either"},
		{"cloud-config azure-container-registry-config cloud-provider-gce-lb-src-cidrs cloud-provider-gce-l7lb-src-cidrs",
			"cloud code is not built in; run the cloud's controller with --cloud-provider=external, and --image-credential-provider-config for its registry"},
		{"register-schedulable!",
			"use --register-with-taints=node.kubernetes.io/unschedulable=:NoSchedule"},
		{"keep-terminated-pod-volumes!",
			"volumes of ended pods are always unmounted"},
		{"redirect-container-streaming!",
			"exec, attach and port-forward always go through Bosun's own server"},
		{"dynamic-config-dir init-config-dir bootstrap-checkpoint-path",
			"configuration comes from --config and --config-dir, and is read at start"},
		{"master-service-namespace",
			"the API server's service is always looked up in namespace default"},
		{"host-network-sources host-pid-sources host-ipc-sources",
			"every source may use the host's namespaces; refuse it with Pod Security admission in the API server"},
		{"seccomp-profile-root",
			"profiles are read from <root-dir>/seccomp"},
		{"system-container",
			"use --system-cgroups"},
		{"resource-container",
			"use --kubelet-cgroups"},
		{"experimental-allowed-unsafe-sysctls",
			"use --allowed-unsafe-sysctls"},
		{"experimental-fail-swap-on!",
			"use --fail-swap-on"},
		{"experimental-kernel-memcg-notification!",
			"use --kernel-memcg-notification"},
		{"experimental-qos-reserved",
			"use --qos-reserved"},
		{"experimental-cgroups-per-qos!",
			"use --cgroups-per-qos"},
		{"experimental-nvidia-gpus",
			"GPUs come from a device plugin"},
		{"experimental-mounter-rootfs-path experimental-check-node-capabilities-before-mount!",
			"volumes are mounted with the host's own tools; CSI drivers bring theirs"},
		{"low-diskspace-threshold-mb outofdisk-transition-frequency",
			"use --eviction-hard with nodefs.available, and --eviction-pressure-transition-period"},
		{"enable-custom-metrics! enable-load-reader! application-metrics-count-limit event-storage-age-limit event-storage-event-limit global-housekeeping-interval boot-id-file machine-id-file container-hints containerd containerd-namespace allow-dynamic-housekeeping! max-housekeeping-interval nosystemd! storage-driver-buffer-duration storage-driver-db storage-driver-host storage-driver-password storage-driver-secure! storage-driver-table storage-driver-user",
			"cAdvisor is not configured by flags any more; --housekeeping-interval is the one that is left"},
		{"show-hidden-metrics-for-version",
			"set showHiddenMetricsForVersion in the config file"},
		{"babysit-daemons! chaos-chance really-crash-for-testing!",
			"it was for tests and has no successor"},
	}
}

func retiredTable() map[string]retired {
	table := map[string]retired{}
	for _, g := range retiredGroups() {
		for name := range strings.FieldsSeq(g[0]) {
			bare, isSwitch := strings.CutSuffix(name, "!")
			table[bare] = retired{name: bare, isSwitch: isSwitch, instead: g[1]}
		}
	}
	return table
}

func (r retired) warning() string {
	return "--" + r.name + " is retired and ignored: " + r.instead
}
