package config

// plainFlags are the settings that exist as flags only, and the mirrors upstream does not call deprecated.
func plainFlags() []flag {
	fs := []flag{
		plain("config", common, "configuration file (KubeletConfiguration, YAML or JSON)", func(c *Config) value { return text(&c.ConfigFile) }),
		plain("config-dir", common, "directory of drop-in files, *.conf, merged over --config in lexical order", func(c *Config) value { return text(&c.ConfigDir) }),
		plain("kubeconfig", common, "credentials for the API server; without it Bosun runs standalone", func(c *Config) value { return text(&c.Kubeconfig) }),
		plain("bootstrap-kubeconfig", common, "credentials to ask for a client certificate with, while --kubeconfig does not exist or is not valid", func(c *Config) value { return text(&c.BootstrapKubeconfig) }),
		plain("hostname-override", common, "the node's name, instead of the host's", func(c *Config) value { return text(&c.HostnameOverride) }),
		plain("node-ip", common, "the node's IP, or one of each family; 0.0.0.0 or :: chooses the family only", func(c *Config) value { return addresses(&c.NodeIPs) }),
		plain("node-labels", common, "labels for the Node object when it is registered", func(c *Config) value { return pairs(&c.NodeLabels, "=") }),
		plain("root-dir", common, "directory that holds all state", func(c *Config) value { return text(&c.RootDir) }),
		plain("cert-dir", common, "directory for certificates", func(c *Config) value { return text(&c.CertDir) }),
		plain("cloud-provider", common, `"external" when a cloud controller sets up the node`, func(c *Config) value { return text(&c.CloudProvider) }),

		plain("runtime-dir", bosun, "directory of containerd, runc and CNI binaries that `bosun up` may start", func(c *Config) value { return text(&c.RuntimeDir) }),
		plain("images", bosun, "directory of image tarballs to load before pods start", func(c *Config) value { return text(&c.Images) }),
		plain("detach", bosun, "leave pods running when `bosun up` ends", func(c *Config) value { return onOff(&c.Detach) }),
		plain("ledger", bosun, "file that remembers what must survive a crash (default <root-dir>/bosun.db)", func(c *Config) value { return text(&c.Ledger) }),
		plain("offline-restart", bosun, "start known pods again after a reboot while the API server is away", func(c *Config) value { return onOff(&c.OfflineRestart) }),
		plain("local-objects", bosun, "pods from files and URLs use ConfigMaps and Secrets from manifests beside them (default true without an API server)", func(c *Config) value { return onOff(&c.LocalObjects) }),
		plain("node-api", bosun, "serve a small Kubernetes API for kubectl, on loopback (default true without an API server, which it needs to be without)", func(c *Config) value { return onOff(&c.NodeAPI) }),
		plain("node-api-port", bosun, "port of --node-api; 0 takes a free one and keeps to it", func(c *Config) value { return number(&c.NodeAPIPort) }),

		plain("help", process, "print this text", func(c *Config) value { return onOff(&c.Help) }),
		plain("version", process, "print the version and end; =raw prints it in parts", func(c *Config) value { return version(&c.Version) }),
		plain("image-credential-provider-config", process, "file or directory that configures credential provider programs", func(c *Config) value { return text(&c.ImageCredentialProviderConfig) }),
		plain("image-credential-provider-bin-dir", process, "directory of credential provider programs", func(c *Config) value { return text(&c.ImageCredentialProviderBinDir) }),
		plain("lock-file", process, "file to hold a lock on while running", func(c *Config) value { return text(&c.LockFile) }),
		plain("exit-on-lock-contention", process, "leave when another process wants --lock-file", func(c *Config) value { return onOff(&c.ExitOnLockContention) }),
		plain("runtime-cgroups", process, "cgroup of the container runtime, for statistics", func(c *Config) value { return text(&c.RuntimeCgroups) }),
		plain("housekeeping-interval", process, "time between two collections of container statistics", func(c *Config) value { return span(&c.HousekeepingInterval) }),
		mirror("seccomp-default", "seccompDefault", "use the runtime's seccomp profile for pods that name none", func(k *KubeletConfiguration) value { return onOffPtr(&k.SeccompDefault) }).in(process),
		mirror("provider-id", "providerID", "the cloud's name for this machine", func(k *KubeletConfiguration) value { return text(&k.ProviderID) }).in(process),
		mirror("fail-cgroupv1", "failCgroupV1", "refuse to start on a cgroup v1 host", func(k *KubeletConfiguration) value { return onOffPtr(&k.FailCgroupV1) }).in(process),

		mirror("v", "logging.verbosity", "log level; higher tells more", func(k *KubeletConfiguration) value { return number(&k.Logging.Verbosity) }).in(logging),
		mirror("vmodule", "logging.vmodule", "log levels for single source files (text format only)", func(k *KubeletConfiguration) value { return vmodule(&k.Logging.VModule) }).in(logging),
		mirror("log-flush-frequency", "logging.flushFrequency", "longest time log lines may stay in a buffer", func(k *KubeletConfiguration) value { return duration(&k.Logging.FlushFrequency.Duration) }).in(logging),

		plain("minimum-container-ttl-duration", old, "keep an exited container at least this long", func(c *Config) value { return span(&c.DeadContainers.MinAge) }),
		plain("maximum-dead-containers-per-container", old, "exited copies of a container to keep; negative keeps all", func(c *Config) value { return number(&c.DeadContainers.PerContainer) }),
		plain("maximum-dead-containers", old, "exited containers to keep on the node; negative means no limit", func(c *Config) value { return number(&c.DeadContainers.Total) }),
		plain("experimental-mounter-path", old, "program to mount with instead of mount", func(c *Config) value { return text(&c.MounterPath) }),
		plain("experimental-allocatable-ignore-eviction", old, "do not take hard eviction thresholds off allocatable", func(c *Config) value { return onOff(&c.EvictionOutsideAllocatable) }),
	}
	for i := range fs {
		switch fs[i].name {
		case "help":
			fs[i].short = "h"
		case "v":
			fs[i].short = "v"
		}
	}
	return fs
}

// pathFlags are the flag-only settings that name a place on disk; relative ones are resolved against the working directory.
func (c *Config) pathFlags() []*string {
	return []*string{
		&c.ConfigFile, &c.ConfigDir, &c.Kubeconfig, &c.BootstrapKubeconfig, &c.RootDir, &c.CertDir, &c.RuntimeDir, &c.Images, &c.Ledger,
		&c.ImageCredentialProviderConfig, &c.ImageCredentialProviderBinDir, &c.LockFile,
	}
}
