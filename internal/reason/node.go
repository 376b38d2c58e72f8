package reason

// Reasons of the node's conditions (behaviours 292, 293).
const (
	KubeletReady                 = "KubeletReady"
	KubeletNotReady              = "KubeletNotReady"
	KubeletHasSufficientMemory   = "KubeletHasSufficientMemory"
	KubeletHasInsufficientMemory = "KubeletHasInsufficientMemory"
	KubeletHasNoDiskPressure     = "KubeletHasNoDiskPressure"
	KubeletHasDiskPressure       = "KubeletHasDiskPressure"
	KubeletHasSufficientPID      = "KubeletHasSufficientPID"
	KubeletHasInsufficientPID    = "KubeletHasInsufficientPID"
)

// Reasons of events about the node (behaviours 294, 300, 301).
const (
	Starting                  = "Starting"
	NodeReady                 = "NodeReady"
	NodeNotReady              = "NodeNotReady"
	NodeHasSufficientMemory   = "NodeHasSufficientMemory"
	NodeHasInsufficientMemory = "NodeHasInsufficientMemory"
	NodeHasNoDiskPressure     = "NodeHasNoDiskPressure"
	NodeHasDiskPressure       = "NodeHasDiskPressure"
	NodeHasSufficientPID      = "NodeHasSufficientPID"
	NodeHasInsufficientPID    = "NodeHasInsufficientPID"
	NodeSchedulable           = "NodeSchedulable"
	NodeNotSchedulable        = "NodeNotSchedulable"
	Rebooted                  = "Rebooted"
	Shutdown                  = "Shutdown"
	CgroupV1                  = "CgroupV1"
	EvictionThresholdMet      = "EvictionThresholdMet"
)

// NodeRegisteredAgain is the reason of the event that tells of a Node object which was deleted while the agent ran, and
// which the agent has made again; upstream leaves it deleted (behaviour 303).
const NodeRegisteredAgain = "NodeRegisteredAgain"
