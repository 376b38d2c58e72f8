package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// stage is how far a feature has come.
type stage string

const (
	alpha      stage = "alpha"
	beta       stage = "beta"
	ga         stage = "GA"
	deprecated stage = "deprecated"
)

// gate is one feature gate. A locked one may only be "set" to the value it has.
type gate struct {
	name   string
	stage  stage
	on     bool
	locked bool
}

// gateTable is every gate of Kubernetes 1.37 that the kubelet reads.
func gateTable() map[string]gate {
	table := map[string]gate{}
	put := func(s stage, on, locked bool, names string) {
		for name := range strings.FieldsSeq(names) {
			table[name] = gate{name: name, stage: s, on: on, locked: locked}
		}
	}
	put(ga, true, true, `CPUManagerPolicyOptions DynamicResourceAllocation DRAExtendedResource ExecProbeTimeout HostnameOverride
		ImageMaximumGCAge ImageVolume InPlacePodVerticalScaling InPlacePodVerticalScalingInitContainers KubeletCgroupDriverFromCRI
		KubeletFineGrainedAuthz KubeletPSI KubeletPodResourcesDynamicResources KubeletPodResourcesGet KubeletTracing
		MutableCSINodeAllocatableCount NodeDeclaredFeatures NodeLogQuery NodeSwap PLEGOnDemandRelist PodObservedGenerationTracking
		PodReadyToStartContainersCondition ProcMountType RecursiveReadOnlyMounts RelaxedEnvironmentVariableValidation
		SELinuxChangePolicy SELinuxMountReadWriteOncePod SupplementalGroupsPolicy SystemdWatchdog TopologyManagerPolicyOptions
		UserNamespacesSupport DisableCPUQuotaWithExclusiveCPUs DisableNodeKubeProxyVersion`)
	put(ga, true, false, `CustomCPUCFSQuotaPeriod ClusterTrustBundleProjection PodCertificateRequest SELinuxMount`)
	put(beta, true, false, `ContainerCheckpoint ContainerRestartRules EnvFiles ExtendWebSocketsToKubelet GracefulNodeShutdown
		GracefulNodeShutdownBasedOnPodPriority HugepageAwareEviction InPlacePodLevelResourcesVerticalScaling
		KubeletCrashLoopBackOffMax KubeletEnsureSecretPulledImages KubeletInUserNamespace KubeletSeparateDiskGC
		KubeletServiceAccountTokenForCredentialProviders MemoryQoS PodLevelResources PodLevelResourcesFixDefaulting
		PodLevelResourcesFixKubeletQOSClass PodsAPI PortForwardWebsockets ReloadKubeletClientCAFile
		ReloadKubeletServerCertificateFile ResourceHealthStatus ResourceHealthStatusMessage RestartAllContainersOnContainerExits
		RotateKubeletServerCertificate CPUManagerPolicyBetaOptions TopologyManagerPolicyBetaOptions VolumeLimitScaling
		DRAConsumableCapacity ComponentFlagz ComponentStatusz ContextualLogging LoggingBetaOptions`)
	put(beta, false, false, `PodAndContainerStatsFromCRI LocalStorageCapacityIsolationFSQuotaMonitoring PodLevelResourceManagers`)
	put(alpha, false, false, `AtomicWriteVolumeUserFields CPUManagerPolicyAlphaOptions CRIListStreaming CSIVolumeHealth
		ContainerStopSignals DRANodeAllocatableResources DRAOptionalNodeOperations DefaultPodSysctls EmptyDirVolumeMode EventedPLEG
		GRPCContainerProbeTLS H2CContainerProbe ImageVolumeWithDigest InPlacePodVerticalScalingExclusiveCPUs
		InPlacePodVerticalScalingExclusiveMemory InPlacePodVerticalScalingMemoryBackedVolumes
		InPlacePodVerticalScalingSchedulerPreemption KubeletAllocatedPodsEndpoint PodLogsQuerySplitStreams QOSReserved
		ReduceDefaultCrashLoopBackOffDecay RuntimeClassInImageCriApi TaintTolerationComparisonOperators
		TopologyManagerPolicyAlphaOptions UserNamespacesHostNetworkSupport VolumeBindMountOptions LoggingAlphaOptions`)
	put(deprecated, false, false, `AllowDNSOnlyNodeCSR ChangeContainerStatusOnKubeletRestart KubeletRegistrationGetOnExistsOnly`)
	put(deprecated, false, true, `GitRepoVolumeDriver`)
	put(deprecated, true, false, `KubeletPodResourcesListUseActivePods`)
	return table
}

// allGates are the two switches that stand for a whole stage.
var allGates = [...]struct {
	name  string
	stage stage
}{{"AllAlpha", alpha}, {"AllBeta", beta}}

// resolve gives every gate its value: the default, then AllAlpha and AllBeta, then what is named.
func resolve(set map[string]bool) map[string]bool {
	out := map[string]bool{}
	for name, g := range gateTable() {
		out[name] = g.on
		for _, all := range allGates {
			if v, ok := set[all.name]; ok && g.stage == all.stage && !g.locked {
				out[name] = v
			}
		}
		if v, ok := set[name]; ok && !g.locked {
			out[name] = v
		}
	}
	return out
}

// Gate reports whether a feature gate is on. A name that is no gate the kubelet reads is off.
func (c *Config) Gate(name string) bool { return resolve(c.Kubelet.FeatureGates)[name] }

// A GateValue is a feature gate and whether it is on. Stage is ALPHA, BETA, DEPRECATED, or empty for what has become general.
type GateValue struct {
	Name, Stage string
	On          bool
}

// Gates are all feature gates that the kubelet reads, by name.
func (c *Config) Gates() []GateValue {
	table, values := gateTable(), resolve(c.Kubelet.FeatureGates)
	out := make([]GateValue, 0, len(table))
	for _, name := range slices.Sorted(maps.Keys(table)) {
		g := GateValue{Name: name, Stage: strings.ToUpper(string(table[name].stage)), On: values[name]}
		if table[name].stage == ga {
			g.Stage = ""
		}
		out = append(out, g)
	}
	return out
}

// checkGates finds gates that do not exist or are locked, and what is worth a note.
func checkGates(set map[string]bool, where string) (ps Problems, notes []string) {
	table, elsewhere := gateTable(), otherGates()
	for _, name := range slices.Sorted(maps.Keys(set)) {
		g, known := table[name]
		value := fmt.Sprintf("%s=%t", name, set[name])
		switch {
		case name == "AllAlpha" || name == "AllBeta":
		case known && g.locked && set[name] != g.on:
			ps.add(where, value, fmt.Sprintf("the gate is %s and locked to %t; leave it out", g.stage, g.on))
		case known && g.locked:
			notes = append(notes, fmt.Sprintf("Feature gate %s is %s and always %t; it need not be set.", name, g.stage, g.on))
		case known:
		case elsewhere[name]:
			notes = append(notes, fmt.Sprintf("Feature gate %s is read by other parts of Kubernetes, not by the kubelet; it has no effect here.", name))
		default:
			ps.add(where, value, "there is no such feature gate"+suggestGate(name, table))
		}
	}
	return ps, notes
}

func suggestGate(name string, table map[string]gate) string {
	if len(name) > maxSuggest {
		return ""
	}
	if best := nearest(name, slices.Collect(maps.Keys(table))); best != "" {
		return "; did you mean " + best + "?"
	}
	return " in Kubernetes 1.37; leave it out"
}
