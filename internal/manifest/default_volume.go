package manifest

import v1 "k8s.io/api/core/v1"

func defaultVolume(v *v1.Volume) {
	s := &v.VolumeSource
	if *s == (v1.VolumeSource{}) {
		s.EmptyDir = &v1.EmptyDirVolumeSource{}
		return
	}
	if s.HostPath != nil {
		setPointer(&s.HostPath.Type, v1.HostPathUnset)
	}
	if s.Secret != nil {
		setPointer(&s.Secret.DefaultMode, v1.SecretVolumeSourceDefaultMode)
	}
	if s.ConfigMap != nil {
		setPointer(&s.ConfigMap.DefaultMode, v1.ConfigMapVolumeSourceDefaultMode)
	}
	if s.DownwardAPI != nil {
		setPointer(&s.DownwardAPI.DefaultMode, v1.DownwardAPIVolumeSourceDefaultMode)
		defaultDownward(s.DownwardAPI.Items)
	}
	if s.Projected != nil {
		defaultProjected(s.Projected)
	}
	if s.Image != nil {
		setTo(&s.Image.PullPolicy, pullPolicyFor(s.Image.Reference))
	}
	if s.Ephemeral != nil && s.Ephemeral.VolumeClaimTemplate != nil {
		setPointer(&s.Ephemeral.VolumeClaimTemplate.Spec.VolumeMode, v1.PersistentVolumeFilesystem)
	}
	defaultNetworkVolume(s)
}

func defaultDownward(items []v1.DownwardAPIVolumeFile) {
	for i := range items {
		if items[i].FieldRef != nil {
			setTo(&items[i].FieldRef.APIVersion, "v1")
		}
	}
}

func defaultProjected(p *v1.ProjectedVolumeSource) {
	setPointer(&p.DefaultMode, v1.ProjectedVolumeSourceDefaultMode)
	for i := range p.Sources {
		source := &p.Sources[i]
		if source.DownwardAPI != nil {
			defaultDownward(source.DownwardAPI.Items)
		}
		if source.ServiceAccountToken != nil {
			setPointer(&source.ServiceAccountToken.ExpirationSeconds, int64(60*60))
		}
		if source.PodCertificate != nil {
			setPointer(&source.PodCertificate.MaxExpirationSeconds, int32(24*60*60))
		}
	}
}

// defaultNetworkVolume fills in the sources that need a network or a cloud.
func defaultNetworkVolume(s *v1.VolumeSource) {
	if s.ISCSI != nil {
		setTo(&s.ISCSI.ISCSIInterface, "default")
	}
	if s.RBD != nil {
		setTo(&s.RBD.RBDPool, "rbd")
		setTo(&s.RBD.RadosUser, "admin")
		setTo(&s.RBD.Keyring, "/etc/ceph/keyring")
	}
	if s.AzureDisk != nil {
		setPointer(&s.AzureDisk.CachingMode, v1.AzureDataDiskCachingReadWrite)
		setPointer(&s.AzureDisk.Kind, v1.AzureSharedBlobDisk)
		setPointer(&s.AzureDisk.FSType, "ext4")
		setPointer(&s.AzureDisk.ReadOnly, false)
	}
	if s.ScaleIO != nil {
		setTo(&s.ScaleIO.StorageMode, "ThinProvisioned")
		setTo(&s.ScaleIO.FSType, "xfs")
	}
}
