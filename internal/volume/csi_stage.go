package volume

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/mount"
	"github.com/bosun-project/bosun/internal/safepath"
)

// Staged is a volume that a driver has made ready on the node.
type Staged struct {
	// Driver and Handle are what the volume is known by; Device is the name of the persistent volume if it is a device.
	Driver, Handle, Device string
}

func (s Staged) data() csiData { return csiData{DriverName: s.Driver, VolumeHandle: s.Handle} }

// stagingDir is where a volume is staged, relative to the state directory.
func stagingDir(d csiData) string {
	return filepath.Join("plugins", csiPlugin, d.DriverName, fmt.Sprintf("%x", sha256.Sum256([]byte(d.VolumeHandle))))
}

// InUse are the volumes that must stay attached to the node, in the words of the node's status, sorted: those that a pod's directory
// names, and those that are staged.
func (v *Volumes) InUse() *latest.Cell[[]v1.UniqueVolumeName] { return &v.csi.inUse }

// Left changes whenever a pod has left a volume: it may have to be unstaged.
func (v *Volumes) Left() *latest.Cell[int] { return &v.csi.orphans }

func (k *csiKind) left() {
	k.orphans.Set(k.orphans.Value() + 1)
	k.count()
}

// Count looks on disk what is in use. Call it once before the node's status is told first.
func (v *Volumes) Count() { v.csi.count() }

// count tells anew what is in use. What cannot be read is not told as unused: then all stays as it was.
func (k *csiKind) count() {
	k.mu.Lock()
	defer k.mu.Unlock()
	pods, err := k.volumes.published()
	if err != nil {
		return
	}
	staged, devices, err := k.volumes.staged()
	if err != nil {
		return
	}
	all := []v1.UniqueVolumeName{}
	for _, d := range slices.Concat(pods, staged, slices.Collect(maps.Values(devices))) {
		if d.Lifecycle != ephemerally && !k.loose[d.DriverName] {
			all = append(all, d.unique())
		}
	}
	slices.Sort(all)
	if all = slices.Compact(all); !slices.Equal(all, k.inUse.Value()) {
		k.inUse.Set(all)
	}
}

// published is what the directories of all pods name.
func (v *Volumes) published() ([]csiData, error) {
	uids, err := v.Pods()
	if err != nil || len(uids) == 0 {
		return nil, err
	}
	root, err := safepath.Open(v.root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var all []csiData
	for _, uid := range uids {
		pod, err := v.openPod(uid)
		if err != nil {
			return nil, err
		}
		if pod == nil {
			continue
		}
		found, err := dataBelow(pod, filepath.Join("volumes", csiDir))
		if err == nil {
			var devices []csiData
			devices, err = devicesOf(root, pod)
			found = append(found, devices...)
		}
		if all = append(all, found...); err != nil {
			return nil, errors.Join(err, pod.Close())
		}
		if err := pod.Close(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// staged is what is staged, or was begun to be, and devices by the name of their persistent volume.
func (v *Volumes) staged() ([]csiData, map[string]csiData, error) {
	root, err := safepath.Open(v.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	top := filepath.Join("plugins", csiPlugin)
	drivers, err := list(root, top)
	if err != nil {
		return nil, nil, err
	}
	var all []csiData
	for _, driver := range drivers {
		found, err := dataBelow(root, filepath.Join(top, driver))
		if err != nil {
			return nil, nil, err
		}
		for _, d := range found {
			if d.DriverName == driver {
				all = append(all, d)
			}
		}
	}
	devices, err := stagedDevices(root)
	return all, devices, err
}

// dataBelow reads the vol_data.json of all directories in one.
func dataBelow(root *safepath.Root, dir string) ([]csiData, error) {
	if info, err := root.Lstat(dir); err != nil || !info.IsDir() {
		return nil, nil
	}
	names, err := list(root, dir)
	if err != nil {
		return nil, err
	}
	var all []csiData
	for _, name := range names {
		sub := filepath.Join(dir, name)
		if info, err := root.Lstat(sub); err != nil || !info.IsDir() {
			continue
		}
		d, ok, err := readData(root, sub)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", root.Join(sub), err)
		}
		if ok {
			all = append(all, d)
		}
	}
	return all, nil
}

// Orphans are the volumes that are staged and named by no pod's directory.
func (v *Volumes) Orphans() ([]Staged, error) {
	staged, devices, err := v.staged()
	if err != nil || len(staged)+len(devices) == 0 {
		return nil, err
	}
	named, err := v.published()
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, d := range named {
		used[d.key()] = true
	}
	var out []Staged
	for _, d := range staged {
		if !used[d.key()] {
			out = append(out, Staged{Driver: d.DriverName, Handle: d.VolumeHandle})
		}
	}
	for _, pv := range slices.Sorted(maps.Keys(devices)) {
		if d := devices[pv]; !used[d.key()] {
			out = append(out, Staged{Driver: d.DriverName, Handle: d.VolumeHandle, Device: pv})
		}
	}
	return out, nil
}

// Unstage has the driver take a volume from the node, unless a pod has begun to use it. It is no error if it is not staged.
func (v *Volumes) Unstage(ctx context.Context, s Staged) error {
	if err := v.csi.unstage(ctx, s); err != nil {
		return fmt.Errorf("unstage volume %s of CSI driver %s: %w", s.Handle, s.Driver, err)
	}
	v.csi.count()
	return nil
}

func (k *csiKind) unstage(ctx context.Context, s Staged) error {
	d := s.data()
	unlock, err := k.locks.lock(ctx, d.key())
	if err != nil {
		return err
	}
	defer unlock()
	orphans, err := k.volumes.Orphans()
	if err != nil || !slices.Contains(orphans, s) {
		return err
	}
	root, err := safepath.Open(k.volumes.root)
	if err != nil {
		return err
	}
	defer root.Close()
	if s.Device != "" {
		return k.unstageDevice(ctx, root, s)
	}
	driver, err := k.driver(ctx, s.Driver)
	if err != nil {
		return err
	}
	dir := stagingDir(d)
	at := filepath.Join(dir, csiStaging)
	if err := driver.Unstage(ctx, s.Handle, root.Join(at)); err != nil {
		return err
	}
	if err := mount.Unmount(root.Join(at), false); err != nil {
		return err
	}
	if err := root.Remove(at); err != nil { // never with contents
		return err
	}
	return root.RemoveAll(ctx, dir)
}
