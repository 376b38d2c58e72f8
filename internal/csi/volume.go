package csi

import (
	"slices"
	"strconv"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	v1 "k8s.io/api/core/v1"
)

// Volume is what a driver is told of a volume.
type Volume struct {
	// Handle is what the driver calls it.
	Handle string
	// Context are the attributes it was made with, PublishContext what attaching it gave.
	Context, PublishContext map[string]string
	// Secrets are for this call; they never get into errors.
	Secrets    map[string]string
	Capability Capability
}

// Capability is how a volume is to be used.
type Capability struct {
	Mode v1.PersistentVolumeAccessMode
	// Block asks for a device; FSType, MountOptions and Group are about file systems only.
	Block        bool
	FSType       string
	MountOptions []string
	// Group is the group the driver is to give the volume to; nil if it is not. See Capabilities.MountGroup.
	Group *int64
}

// CapabilityOf is how a persistent volume is to be used: as its first access mode says.
func CapabilityOf(pv *v1.PersistentVolume) Capability {
	c := Capability{Mode: v1.ReadWriteOnce, MountOptions: slices.Clone(pv.Spec.MountOptions)}
	if len(pv.Spec.AccessModes) > 0 {
		c.Mode = pv.Spec.AccessModes[0]
	}
	c.Block = pv.Spec.VolumeMode != nil && *pv.Spec.VolumeMode == v1.PersistentVolumeBlock
	if source := pv.Spec.CSI; source != nil {
		c.FSType = source.FSType
	}
	return c
}

func (c Capability) of(d *Driver) *pb.VolumeCapability {
	out := &pb.VolumeCapability{AccessMode: &pb.VolumeCapability_AccessMode{Mode: mode(c.Mode, d.Can.SingleNodeMultiWriter)}}
	if c.Block {
		out.AccessType = &pb.VolumeCapability_Block{Block: &pb.VolumeCapability_BlockVolume{}}
		return out
	}
	mount := &pb.VolumeCapability_MountVolume{FsType: c.FSType, MountFlags: c.MountOptions}
	if c.Group != nil {
		mount.VolumeMountGroup = strconv.FormatInt(*c.Group, 10)
	}
	out.AccessType = &pb.VolumeCapability_Mount{Mount: mount}
	return out
}

// mode is an access mode in the driver's words. multi tells that it knows the difference between one pod and one node.
func mode(m v1.PersistentVolumeAccessMode, multi bool) pb.VolumeCapability_AccessMode_Mode {
	switch m {
	case v1.ReadOnlyMany:
		return pb.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY
	case v1.ReadWriteMany:
		return pb.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
	case v1.ReadWriteOnce:
		if multi {
			return pb.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
		}
		return pb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	case v1.ReadWriteOncePod:
		if multi {
			return pb.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER
		}
		return pb.VolumeCapability_AccessMode_SINGLE_NODE_WRITER
	}
	return pb.VolumeCapability_AccessMode_UNKNOWN
}
