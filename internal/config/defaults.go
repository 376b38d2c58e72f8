package config

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubelet "k8s.io/kubelet/config/v1beta1"
)

const (
	apiVersion = "kubelet.config.k8s.io/v1beta1"
	kind       = "KubeletConfiguration"

	defaultRootDir = "/var/lib/kubelet"
	defaultCertDir = "/var/lib/kubelet/pki"
)

// blank is a Config before any file or flag.
func blank() *Config {
	return &Config{
		RootDir:              defaultRootDir,
		CertDir:              defaultCertDir,
		HousekeepingInterval: 10 * time.Second,
		DeadContainers:       DeadContainers{PerContainer: 1, Total: -1},
		given:                map[string]bool{},
	}
}

// legacy sets the four values that differ while no config file is given. They are older than the file.
func legacy(k *KubeletConfiguration) {
	k.Authentication.Anonymous.Enabled = new(true)
	k.Authentication.Webhook.Enabled = new(false)
	k.Authorization.Mode = kubelet.KubeletAuthorizationModeAlwaysAllow
	k.ReadOnlyPort = 10255
}

// hardEviction is what a config file that names no hard threshold gets.
func hardEviction() map[string]string {
	return map[string]string{
		"memory.available":   "100Mi",
		"nodefs.available":   "10%",
		"nodefs.inodesFree":  "5%",
		"imagefs.available":  "15%",
		"imagefs.inodesFree": "5%",
	}
}

// or sets *p to def when it is the zero value, which in a config file means "not said": installers write 0 and 0s freely.
func or[T comparable](p *T, def T) {
	var zero T
	if *p == zero {
		*p = def
	}
}

// orPtr sets *p when it is nil; a pointer to zero was said on purpose.
func orPtr[T any](p **T, def T) {
	if *p == nil {
		*p = &def
	}
}

func orTime(p *metav1.Duration, def time.Duration) { or(&p.Duration, def) }

// fill puts in every default that does not depend on other files or flags.
func fill(k *KubeletConfiguration) {
	k.APIVersion, k.Kind = apiVersion, kind
	fillTimes(k)
	fillServers(k)
	fillPods(k)
	fillNode(k)
	fillResources(k)
}

// fillTimes is also used once the flags are in, since none of these means anything at zero.
func fillTimes(k *KubeletConfiguration) {
	if k.NodeStatusReportFrequency.Duration == 0 {
		// Who reports status at another pace than usual means both, unless told otherwise.
		k.NodeStatusReportFrequency = k.NodeStatusUpdateFrequency
		orTime(&k.NodeStatusReportFrequency, 5*time.Minute)
	}
	orTime(&k.SyncFrequency, time.Minute)
	orTime(&k.FileCheckFrequency, 20*time.Second)
	orTime(&k.HTTPCheckFrequency, 20*time.Second)
	orTime(&k.NodeStatusUpdateFrequency, 10*time.Second)
	orTime(&k.CPUManagerReconcilePeriod, 10*time.Second)
	orTime(&k.RuntimeRequestTimeout, 2*time.Minute)
	orTime(&k.VolumeStatsAggPeriod, time.Minute)
	orTime(&k.EvictionPressureTransitionPeriod, 5*time.Minute)
	if k.Logging.FlushFrequency.Duration.Duration == 0 {
		k.Logging.FlushFrequency.Duration.Duration = 5 * time.Second
	}
	k.Logging.FlushFrequency.SerializeAsString = true
}

func fillServers(k *KubeletConfiguration) {
	orPtr(&k.EnableServer, true)
	or(&k.Address, "0.0.0.0")
	or(&k.Port, 10250)
	orPtr(&k.HealthzPort, 10248)
	or(&k.HealthzBindAddress, "127.0.0.1")
	orPtr(&k.Authentication.Anonymous.Enabled, false)
	orPtr(&k.Authentication.Webhook.Enabled, true)
	orTime(&k.Authentication.Webhook.CacheTTL, 2*time.Minute)
	or(&k.Authorization.Mode, kubelet.KubeletAuthorizationModeWebhook)
	orTime(&k.Authorization.Webhook.CacheAuthorizedTTL, 5*time.Minute)
	orTime(&k.Authorization.Webhook.CacheUnauthorizedTTL, 30*time.Second)
	orPtr(&k.EventRecordQPS, 50)
	or(&k.EventBurst, 100)
	orPtr(&k.EnableDebuggingHandlers, true)
	orPtr(&k.EnableSystemLogHandler, true)
	orPtr(&k.EnableSystemLogQuery, false)
	orPtr(&k.EnableProfilingHandler, true)
	orPtr(&k.EnableDebugFlagsHandler, true)
	orTime(&k.StreamingConnectionIdleTimeout, 4*time.Hour)
	or(&k.ContentType, "application/vnd.kubernetes.protobuf")
	orPtr(&k.KubeAPIQPS, 50)
	or(&k.KubeAPIBurst, 100)
	or(&k.Logging.Format, "text")
}

func fillPods(k *KubeletConfiguration) {
	or(&k.PodLogsDir, "/var/log/pods")
	or(&k.ContainerRuntimeEndpoint, "unix:///run/containerd/containerd.sock")
	orPtr(&k.RegistryPullQPS, 5)
	or(&k.RegistryBurst, 10)
	orTime(&k.ImageMinimumGCAge, 2*time.Minute)
	orPtr(&k.ImageGCHighThresholdPercent, 85)
	orPtr(&k.ImageGCLowThresholdPercent, 80)
	or(&k.HairpinMode, kubelet.PromiscuousBridge)
	or(&k.MaxPods, 110)
	orPtr(&k.PodPidsLimit, -1)
	orPtr(&k.ResolverConfig, "/etc/resolv.conf")
	orPtr(&k.SerializeImagePulls, k.MaxParallelImagePulls == nil || *k.MaxParallelImagePulls < 2)
	or(&k.ContainerLogMaxSize, "10Mi")
	orPtr(&k.ContainerLogMaxFiles, 5)
	orPtr(&k.ContainerLogMaxWorkers, 1)
	orPtr(&k.ContainerLogMonitorInterval, metav1.Duration{Duration: 10 * time.Second})
	or(&k.ConfigMapAndSecretChangeDetectionStrategy, kubelet.WatchChangeDetectionStrategy)
	or(&k.VolumePluginDir, "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/")
	orPtr(&k.EnableControllerAttachDetach, true)
	orPtr(&k.SeccompDefault, false)
	orPtr(&k.CrashLoopBackOff.MaxContainerRestartPeriod, metav1.Duration{Duration: 5 * time.Minute})
}

func fillNode(k *KubeletConfiguration) {
	or(&k.NodeLeaseDurationSeconds, 40)
	orPtr(&k.NodeStatusMaxImages, 50)
	orPtr(&k.OOMScoreAdj, -999)
	or(&k.MaxOpenFiles, 1000000)
	orPtr(&k.RegisterNode, true)
	orPtr(&k.FailSwapOn, true)
	orPtr(&k.FailCgroupV1, true)
	orPtr(&k.MakeIPTablesUtilChains, true)
	orPtr(&k.IPTablesMasqueradeBit, 14)
	orPtr(&k.IPTablesDropBit, 15)
	orPtr(&k.LocalStorageCapacityIsolation, true)
}

func fillResources(k *KubeletConfiguration) {
	orPtr(&k.CgroupsPerQOS, true)
	or(&k.CgroupDriver, "cgroupfs")
	orPtr(&k.CPUCFSQuota, true)
	orPtr(&k.CPUCFSQuotaPeriod, metav1.Duration{Duration: 100 * time.Millisecond})
	or(&k.CPUManagerPolicy, "none")
	or(&k.MemoryManagerPolicy, kubelet.NoneMemoryManagerPolicy)
	or(&k.TopologyManagerPolicy, kubelet.NoneTopologyManagerPolicy)
	or(&k.TopologyManagerScope, kubelet.ContainerTopologyManagerScope)
	or(&k.MemoryReservationPolicy, kubelet.NoneMemoryReservationPolicy)
	orPtr(&k.MergeDefaultEvictionSettings, false)
	if k.EnforceNodeAllocatable == nil {
		k.EnforceNodeAllocatable = []string{"pods"}
	}
}

// settle puts in what depends on everything else being known: file, drop-ins and flags.
func settle(c *Config) {
	k := &c.Kubelet
	fillTimes(k)
	if k.ImagePullCredentialsVerificationPolicy == "" && c.Gate("KubeletEnsureSecretPulledImages") {
		k.ImagePullCredentialsVerificationPolicy = kubelet.NeverVerifyPreloadedImages
	}
	if *k.MergeDefaultEvictionSettings && len(k.EvictionHard) > 0 {
		merged := hardEviction()
		for signal, threshold := range k.EvictionHard {
			merged[signal] = threshold
		}
		k.EvictionHard = merged
	}
	if len(k.PodLogsDir) > 1 {
		k.PodLogsDir = strings.TrimSuffix(k.PodLogsDir, "/")
	}
	c.HostnameOverride = strings.ToLower(strings.TrimSpace(c.HostnameOverride))
	if c.Ledger == "" {
		c.Ledger = strings.TrimSuffix(c.RootDir, "/") + "/bosun.db"
	}
}
