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
)
