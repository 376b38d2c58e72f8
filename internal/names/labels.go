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

// ContainerSizes is an annotation on containers that only this agent writes and reads: the CPU and memory that a container was
// made with, as plan.Given has them (behaviour 221). Other agents leave it alone.
const ContainerSizes = "io.bosun.container.resources"

// Annotations on pods.
const (
	ConfigSource = "kubernetes.io/config.source"
	ConfigSeen   = "kubernetes.io/config.seen"
	ConfigHash   = "kubernetes.io/config.hash"
	ConfigMirror = "kubernetes.io/config.mirror"
)
