package csidriver

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// NodeStageVolume shows the data at the staging path.
func (d *Driver) NodeStageVolume(_ context.Context, r *pb.NodeStageVolumeRequest) (*pb.NodeStageVolumeResponse, error) {
	if err := mustBe(r.StagingTargetPath); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	if r.VolumeCapability.GetBlock() == nil {
		if err := d.show(r.VolumeId, r.StagingTargetPath, false); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	return &pb.NodeStageVolumeResponse{}, nil
}

// NodeUnstageVolume takes it away again.
func (d *Driver) NodeUnstageVolume(_ context.Context, r *pb.NodeUnstageVolumeRequest) (*pb.NodeUnstageVolumeResponse, error) {
	if err := hide(r.StagingTargetPath); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &pb.NodeUnstageVolumeResponse{}, nil
}

// NodePublishVolume shows what is staged, or the data itself, at the target path, or a device there.
func (d *Driver) NodePublishVolume(_ context.Context, r *pb.NodePublishVolumeRequest) (*pb.NodePublishVolumeResponse, error) {
	if err := mustBe(filepath.Dir(r.TargetPath)); err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	inline := strings.HasPrefix(r.VolumeId, "csi-") // volumes written into pods are not staged
	if !d.options.NoStage && !inline && r.VolumeCapability.GetBlock() == nil {
		var at, below unix.Stat_t
		if unix.Stat(r.StagingTargetPath, &at) != nil || unix.Stat(d.Data(r.VolumeId), &below) != nil || at.Ino != below.Ino {
			return nil, status.Error(codes.FailedPrecondition, "the volume is not staged at "+r.StagingTargetPath)
		}
	}
	var err error
	if r.VolumeCapability.GetBlock() != nil {
		err = showDevice(r.VolumeContext["device"], r.TargetPath)
	} else if err = os.Mkdir(r.TargetPath, 0o755); err == nil || errors.Is(err, os.ErrExist) {
		err = d.show(r.VolumeId, r.TargetPath, r.Readonly)
	}
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &pb.NodePublishVolumeResponse{}, nil
}

// NodeUnpublishVolume takes it away with the path.
func (d *Driver) NodeUnpublishVolume(_ context.Context, r *pb.NodeUnpublishVolumeRequest) (*pb.NodeUnpublishVolumeResponse, error) {
	err := hide(r.TargetPath)
	if err == nil {
		if err = os.Remove(r.TargetPath); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &pb.NodeUnpublishVolumeResponse{}, nil
}

// NodeExpandVolume has nothing to do.
func (d *Driver) NodeExpandVolume(_ context.Context, r *pb.NodeExpandVolumeRequest) (*pb.NodeExpandVolumeResponse, error) {
	return &pb.NodeExpandVolumeResponse{CapacityBytes: r.CapacityRange.GetRequiredBytes()}, nil
}

// NodeGetVolumeStats makes numbers up.
func (d *Driver) NodeGetVolumeStats(context.Context, *pb.NodeGetVolumeStatsRequest) (*pb.NodeGetVolumeStatsResponse, error) {
	return &pb.NodeGetVolumeStatsResponse{Usage: []*pb.VolumeUsage{
		{Unit: pb.VolumeUsage_BYTES, Total: 1000, Used: 300, Available: 700}, {Unit: pb.VolumeUsage_INODES, Total: 10, Used: 3, Available: 7},
	}}, nil
}

// show bind mounts the data of a volume.
func (d *Driver) show(handle, at string, readOnly bool) error {
	data := d.Data(handle)
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	var have, want unix.Stat_t
	if unix.Stat(at, &have) == nil && unix.Stat(data, &want) == nil && have.Ino == want.Ino && have.Dev == want.Dev {
		return nil // done before
	}
	if err := unix.Mount(data, at, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	if readOnly {
		return unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	}
	return nil
}

func showDevice(device, at string) error {
	f, err := os.OpenFile(at, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	var s unix.Stat_t
	if err := unix.Stat(at, &s); err != nil || s.Mode&unix.S_IFMT == unix.S_IFBLK {
		return err // done before
	}
	return unix.Mount(device, at, "", unix.MS_BIND, "")
}

// hide unmounts; it is no error if nothing is there.
func hide(at string) error {
	for {
		switch err := unix.Unmount(at, unix.UMOUNT_NOFOLLOW); err {
		case nil:
		case unix.EINVAL, unix.ENOENT:
			return nil
		default:
			return err
		}
	}
}
