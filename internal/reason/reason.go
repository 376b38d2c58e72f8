package reason

// Reasons of a waiting container (behaviours 64, 65, 139).
const (
	ContainerCreating         = "ContainerCreating"
	PodInitializing           = "PodInitializing"
	CrashLoopBackOff          = "CrashLoopBackOff"
	CreateContainerConfigErr  = "CreateContainerConfigError"
	CreateContainerError      = "CreateContainerError"
	RunContainerError         = "RunContainerError"
	PostStartHookError        = "PostStartHookError"
	ErrImagePull              = "ErrImagePull"
	ImagePullBackOff          = "ImagePullBackOff"
	ImageInspectError         = "ImageInspectError"
	ErrImageNeverPull         = "ErrImageNeverPull"
	InvalidImageName          = "InvalidImageName"
	RegistryUnavailable       = "RegistryUnavailable"
	SignatureValidationFailed = "SignatureValidationFailed"
)

// Reasons of a terminated container (behaviours 114, 148, 277).
const (
	Completed               = "Completed"
	Error                   = "Error"
	ContainerStatusUnknown  = "ContainerStatusUnknown"
	RestartingAllContainers = "RestartingAllContainers"
)

// Reasons of a pod's status (behaviours B, 149, 253, 307).
const (
	DeadlineExceeded         = "DeadlineExceeded"
	Evicted                  = "Evicted"
	NodeShutdown             = "NodeShutdown"
	Preempting               = "Preempting"
	Terminated               = "Terminated"
	UnexpectedAdmissionError = "UnexpectedAdmissionError"
	TopologyAffinityError    = "TopologyAffinityError"
	SMTAlignmentError        = "SMTAlignmentError"
)

// Reasons of pod conditions (behaviours 114, 270-273).
const (
	ContainerExited          = "ContainerExited"
	ContainersNotReady       = "ContainersNotReady"
	ContainersNotInitialized = "ContainersNotInitialized"
	UnknownContainerStatuses = "UnknownContainerStatuses"
	ReadinessGatesNotReady   = "ReadinessGatesNotReady"
	PodCompleted             = "PodCompleted"
	PodFailed                = "PodFailed"
	PodSandboxNotReady       = "PodSandboxNotReady"
	TerminationByKubelet     = "TerminationByKubelet"
)

// Reasons of events (behaviours 312-314).
const (
	Created                         = "Created"
	Started                         = "Started"
	Failed                          = "Failed"
	Killing                         = "Killing"
	BackOff                         = "BackOff"
	Pulling                         = "Pulling"
	FailedToRetrieveImagePullSecret = "FailedToRetrieveImagePullSecret"
	Pulled                          = "Pulled"
	InspectFailed                   = "InspectFailed"
	SandboxChanged                  = "SandboxChanged"
	FailedCreatePodSandBox          = "FailedCreatePodSandBox"
	FailedPodSandboxStatus          = "FailedPodSandBoxStatus"
	FailedCreatePodContainer        = "FailedCreatePodContainer"
	FailedKillPod                   = "FailedKillPod"
	FailedPrepareDynamicResources   = "FailedPrepareDynamicResources"
	VolumeAttachmentLimitExceeded   = "VolumeAttachmentLimitExceeded"
	VolumeResizeFailed              = "VolumeResizeFailed"
	FileSystemResizeSuccessful      = "FileSystemResizeSuccessful"
	FailedMount                     = "FailedMount"
	FailedMapVolume                 = "FailedMapVolume"
	FailedAttachVolume              = "FailedAttachVolume"
	SuccessfulMountVolume           = "SuccessfulMountVolume"
	FailedPostStartHook             = "FailedPostStartHook"
	FailedPreStopHook               = "FailedPreStopHook"
	FailedSync                      = "FailedSync"
	FailedValidation                = "FailedValidation"
	NetworkNotReady                 = "NetworkNotReady"
	DNSConfigForming                = "DNSConfigForming"
	MissingClusterDNS               = "MissingClusterDNS"
	LifecycleHTTPFallback           = "LifecycleHTTPFallback"
	ContainerGCFailed               = "ContainerGCFailed"
	ImageGCFailed                   = "ImageGCFailed"
	FreeDiskSpaceFailed             = "FreeDiskSpaceFailed"
	InvalidDiskCapacity             = "InvalidDiskCapacity"
	Unhealthy                       = "Unhealthy"
	ProbeWarning                    = "ProbeWarning"
)

// Reasons of notes about the node's container runtime; upstream has no events for them.
const (
	ContainerRuntimeUp   = "ContainerRuntimeUp"
	ContainerRuntimeDown = "ContainerRuntimeDown"
)

// Reasons of events about what pods may use of the node (behaviour 208).
const (
	NodeAllocatableEnforced          = "NodeAllocatableEnforced"
	FailedNodeAllocatableEnforcement = "FailedNodeAllocatableEnforcement"
)
