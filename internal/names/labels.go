package names

// Labels on sandboxes and containers (behaviours 49, 60).
const (
	PodName       = "io.kubernetes.pod.name"
	PodNamespace  = "io.kubernetes.pod.namespace"
	PodUID        = "io.kubernetes.pod.uid"
	ContainerName = "io.kubernetes.container.name"
)

// Annotations on containers (behaviour 60).
const (
	ContainerHash             = "io.kubernetes.container.hash"
	ContainerRestartCount     = "io.kubernetes.container.restartCount"
	TerminationMessagePath    = "io.kubernetes.container.terminationMessagePath"
	TerminationMessagePolicy  = "io.kubernetes.container.terminationMessagePolicy"
	PreStopHandler            = "io.kubernetes.container.preStopHandler"
	ContainerPorts            = "io.kubernetes.container.ports"
	PodDeletionGracePeriod    = "io.kubernetes.pod.deletionGracePeriod"
	PodTerminationGracePeriod = "io.kubernetes.pod.terminationGracePeriod"
)

// Annotations on pods.
const (
	ConfigSource = "kubernetes.io/config.source"
	ConfigSeen   = "kubernetes.io/config.seen"
	ConfigHash   = "kubernetes.io/config.hash"
	ConfigMirror = "kubernetes.io/config.mirror"
)
