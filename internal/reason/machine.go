package reason

// Reasons of events about the machine below the node, and about its certificates (behaviours 81, 313).
const (
	SystemOOM = "SystemOOM"
	// PossibleMemoryBackedVolumesOnDisk is said when what is in memory volumes may be swapped out.
	PossibleMemoryBackedVolumesOnDisk = "PossibleMemoryBackedVolumesOnDisk"
	CheckLimitsForResolvConf          = "CheckLimitsForResolvConf"
	// CertificateOverdueForRefresh and CertificateExpired are upstream's words for certificates in volumes of pods; they serve for the
	// node's own as well.
	CertificateOverdueForRefresh = "CertificateOverdueForRefresh"
	CertificateExpired           = "CertificateExpired"
)

// Reasons of events about pods that the machine is behind (behaviours 186, 313).
const (
	HostIPsIPFamilyMismatch          = "HostIPsIPFamilyMismatch"
	VolumePermissionChangeInProgress = "VolumePermissionChangeInProgress"
)
