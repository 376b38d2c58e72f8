package manifest

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// need keeps a fault for every named value that is empty.
func (c *checker) need(at *field.Path, pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			c.required(at.Child(pairs[i]), "")
		}
	}
}

// remoteSource checks the sources that need a server.
func (c *checker) remoteSource(s *v1.VolumeSource, at *field.Path) {
	if n := s.NFS; n != nil {
		c.need(at.Child("nfs"), "server", n.Server, "path", n.Path)
		if n.Path != "" && !strings.HasPrefix(n.Path, "/") {
			c.invalid(at.Child("nfs", "path"), n.Path, "must be an absolute path")
		}
	}
	if i := s.ISCSI; i != nil {
		c.iscsi(i, at.Child("iscsi"))
	}
	if f := s.FC; f != nil {
		c.fibreChannel(f, at.Child("fc"))
	}
	if p := s.PersistentVolumeClaim; p != nil {
		c.need(at.Child("persistentVolumeClaim"), "claimName", p.ClaimName)
	}
	if d := s.CSI; d != nil {
		if c.subdomain(at.Child("csi", "driver"), strings.ToLower(d.Driver)); len(d.Driver) > 63 {
			c.add(field.TooLong(at.Child("csi", "driver"), d.Driver, 63))
		}
		if d.NodePublishSecretRef != nil {
			c.need(at.Child("csi", "nodePublishSecretRef"), "name", d.NodePublishSecretRef.Name)
		}
	}
	if g := s.Glusterfs; g != nil {
		c.need(at.Child("glusterfs"), "endpoints", g.EndpointsName, "path", g.Path)
	}
	if r := s.RBD; r != nil {
		if len(r.CephMonitors) == 0 {
			c.required(at.Child("rbd", "monitors"), "")
		}
		c.need(at.Child("rbd"), "image", r.RBDImage)
	}
	if f := s.CephFS; f != nil && len(f.Monitors) == 0 {
		c.required(at.Child("cephfs", "monitors"), "")
	}
	if f := s.FlexVolume; f != nil {
		c.need(at.Child("flexVolume"), "driver", f.Driver)
	}
	if q := s.Quobyte; q != nil {
		c.need(at.Child("quobyte"), "registry", q.Registry, "volume", q.Volume)
		if len(q.Tenant) > 64 {
			c.add(field.TooLong(at.Child("quobyte", "tenant"), q.Tenant, 64))
		}
	}
	if f := s.Flocker; f != nil && (f.DatasetName == "") == (f.DatasetUUID == "") {
		c.invalid(at.Child("flocker"), "", "exactly one of datasetName and datasetUUID must be specified")
	}
}

func (c *checker) iscsi(i *v1.ISCSIVolumeSource, at *field.Path) {
	c.need(at, "targetPortal", i.TargetPortal, "iqn", i.IQN)
	if i.IQN != "" && !strings.HasPrefix(i.IQN, "iqn.") && !strings.HasPrefix(i.IQN, "eui.") && !strings.HasPrefix(i.IQN, "naa.") {
		c.invalid(at.Child("iqn"), i.IQN, "must be valid format starting with iqn, eui, or naa")
	}
	if i.Lun < 0 || i.Lun > 255 {
		c.invalid(at.Child("lun"), i.Lun, "must be between 0 and 255, inclusive")
	}
	if (i.DiscoveryCHAPAuth || i.SessionCHAPAuth) && i.SecretRef == nil {
		c.required(at.Child("secretRef"), "must be set for CHAP authentication")
	}
}

func (c *checker) fibreChannel(f *v1.FCVolumeSource, at *field.Path) {
	switch byName, byID := len(f.TargetWWNs) > 0, len(f.WWIDs) > 0; {
	case byName && byID:
		c.invalid(at.Child("targetWWNs"), f.TargetWWNs, "fc can not specify both targetWWNs and wwids")
	case !byName && !byID:
		c.required(at.Child("targetWWNs"), "must specify either targetWWNs or wwids")
	case byName && f.Lun == nil:
		c.required(at.Child("lun"), "lun is required if targetWWNs is specified")
	case byName && (*f.Lun < 0 || *f.Lun > 255):
		c.invalid(at.Child("lun"), *f.Lun, "must be between 0 and 255, inclusive")
	}
}

// cloudSource checks the disks of clouds and of vendors.
func (c *checker) cloudSource(s *v1.VolumeSource, at *field.Path) {
	if d := s.GCEPersistentDisk; d != nil {
		c.need(at.Child("gcePersistentDisk"), "pdName", d.PDName)
		c.partition(d.Partition, at.Child("gcePersistentDisk", "partition"))
	}
	if d := s.AWSElasticBlockStore; d != nil {
		c.need(at.Child("awsElasticBlockStore"), "volumeID", d.VolumeID)
		c.partition(d.Partition, at.Child("awsElasticBlockStore", "partition"))
	}
	if d := s.Cinder; d != nil {
		c.need(at.Child("cinder"), "volumeID", d.VolumeID)
	}
	if d := s.AzureFile; d != nil {
		c.need(at.Child("azureFile"), "secretName", d.SecretName, "shareName", d.ShareName)
	}
	if d := s.AzureDisk; d != nil {
		c.need(at.Child("azureDisk"), "diskName", d.DiskName, "diskURI", d.DataDiskURI)
		if d.CachingMode != nil {
			oneOf(c, at.Child("azureDisk", "cachingMode"), *d.CachingMode,
				v1.AzureDataDiskCachingNone, v1.AzureDataDiskCachingReadOnly, v1.AzureDataDiskCachingReadWrite)
		}
		if d.Kind != nil {
			oneOf(c, at.Child("azureDisk", "kind"), *d.Kind, v1.AzureSharedBlobDisk, v1.AzureDedicatedBlobDisk, v1.AzureManagedDisk)
		}
	}
	if d := s.VsphereVolume; d != nil {
		c.need(at.Child("vsphereVolume"), "volumePath", d.VolumePath)
	}
	if d := s.PhotonPersistentDisk; d != nil {
		c.need(at.Child("photonPersistentDisk"), "pdID", d.PdID)
	}
	if d := s.PortworxVolume; d != nil {
		c.need(at.Child("portworxVolume"), "volumeID", d.VolumeID)
	}
	if d := s.ScaleIO; d != nil {
		c.need(at.Child("scaleIO"), "gateway", d.Gateway, "system", d.System, "volumeName", d.VolumeName)
	}
	if d := s.StorageOS; d != nil {
		c.need(at.Child("storageos"), "volumeName", d.VolumeName)
	}
}

func (c *checker) partition(n int32, at *field.Path) {
	if n < 0 || n > 255 {
		c.invalid(at, n, "must be between 0 and 255, inclusive")
	}
}
