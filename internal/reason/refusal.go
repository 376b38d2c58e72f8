package reason

// Reasons for which a node refuses a pod (behaviours 33-43). OutOf is followed by the name of the resource.
const (
	OutOf                      = "OutOf"
	NodeAffinity               = "NodeAffinity"
	NodeName                   = "NodeName"
	NodePorts                  = "NodePorts"
	TaintToleration            = "TaintToleration"
	SysctlForbidden            = "SysctlForbidden"
	AppArmor                   = "AppArmor"
	PodOSNotSupported          = "PodOSNotSupported"
	PodOSSelectorMismatch      = "PodOSSelectorNodeLabelDoesNotMatch"
	InitRestartPolicyForbidden = "InitContainerRestartPolicyForbidden"
	GroupsPolicyNotSupported   = "SupplementalGroupsPolicyNotSupported"
	PodFeatureUnsupported      = "PodFeatureUnsupported"
	// PodLevelResourcesNotSupported is said of a pod with resources as a whole on a node whose pods have no cgroups.
	PodLevelResourcesNotSupported = "PodLevelResourcesNotSupported"
	// FailedNodeDeclaredFeaturesCheck is said of a pod that changes to need what the node does not declare.
	FailedNodeDeclaredFeaturesCheck = "FailedNodeDeclaredFeaturesCheck"
)
