package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/mount"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/safepath"
)

// Block volumes of CSI drivers have their own layout, upstream's (behaviour 187): what is known of a volume, where it is staged, and where
// it is published for each pod are below the directory of plugins, by the name of the persistent volume; a link in the pod's directory
// says that the pod uses it.
const (
	devicesDir = "volumeDevices"
	blockDir   = "plugins/" + csiPlugin + "/" + devicesDir
)

// device is where a block volume is, relative to the state directory.
type device struct{ pv string }

func (b device) top() string                      { return filepath.Join(blockDir, b.pv) }
func (b device) data() string                     { return filepath.Join(b.top(), "data") }
func (b device) staged() string                   { return filepath.Join(blockDir, "staging", b.pv) }
func (b device) publishing() string               { return filepath.Join(blockDir, "publish", b.pv) }
func (b device) published(pod types.UID) string   { return filepath.Join(b.publishing(), string(pod)) }
func (b device) link() string                     { return filepath.Join(devicesDir, csiDir, b.pv) }
func (b device) place(pod *safepath.Root) place   { return place{pod: pod, kind: csiDir, name: b.pv} }
func isDevice(root *safepath.Root, n string) bool { return modeOf(root, n)&fs.ModeDevice != 0 }

// modeOf is the mode of a file, 0 if there is none.
func modeOf(root *safepath.Root, name string) fs.FileMode {
	info, err := root.Lstat(name)
	if err != nil {
		return 0
	}
	return info.Mode()
}

// setupBlock brings a device to a pod.
func (k *csiKind) setupBlock(ctx context.Context, r *request, d *driven) error {
	root, err := safepath.Make(k.volumes.root, 0o755)
	if err != nil {
		return err
	}
	defer root.Close()
	b := device{r.pv.Name}
	if err := noteDevice(root, r, b, d); err != nil {
		return err
	}
	there := isDevice(root, b.published(r.pod.UID))
	if !there {
		if err := k.await(ctx, r, d); err != nil {
			return err
		}
	}
	if d.driver, err = k.driver(ctx, d.DriverName); err != nil {
		return failed(r, "MapVolume.SetUpDevice", err)
	}
	unlock, err := k.locks.lock(ctx, d.key())
	if err != nil {
		return err
	}
	defer unlock()
	if err := noteDevice(root, r, b, d); err != nil { // it may have been unstaged since
		return err
	}
	staged := ""
	if d.driver.Can.Stage {
		staged = root.Join(b.staged())
	}
	if there && !d.republished() {
		return k.grow(ctx, r, d, staged, root.Join(b.published(r.pod.UID)))
	}
	if err := k.stageDevice(ctx, root, d, b, there); err != nil {
		return failed(r, "MapVolume.SetUpDevice", err)
	}
	if err := k.publishDevice(ctx, root, r, d, b, staged); err != nil {
		return failed(r, "MapVolume.MapPodDevice", err)
	}
	if !there {
		r.mapped("globalMapPath", root.Join(b.publishing()))
		r.mapped("volumeMapPath", filepath.Dir(r.place.pod.Join(b.link())))
	}
	return k.grow(ctx, r, d, staged, root.Join(b.published(r.pod.UID)))
}

// mapped tells where the device of a volume is shown.
func (r *request) mapped(what, path string) {
	if r.notes == nil {
		return
	}
	r.notes(note.Note{
		At: time.Now(), Level: note.Normal, Reason: reason.SuccessfulMountVolume,
		Message: fmt.Sprintf("MapVolume.MapPodDevice succeeded for volume %q %s %q", r.name(), what, path),
		About:   note.About{Kind: "Pod", Namespace: r.pod.Namespace, Name: r.pod.Name, UID: r.pod.UID},
	})
}

// noteDevice writes down that a pod uses a device, before anybody is asked for it.
func noteDevice(root *safepath.Root, r *request, b device, d *driven) error {
	if err := root.MkdirAll(b.data(), dirMode); err != nil {
		return err
	}
	if err := writeData(root, b.data(), d.csiData); err != nil {
		return err
	}
	pod := r.place.pod
	if err := pod.MkdirAll(filepath.Dir(b.link()), dirMode); err != nil {
		return err
	}
	err := pod.Symlink(root.Join(b.published(r.pod.UID)), b.link())
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func (k *csiKind) stageDevice(ctx context.Context, root *safepath.Root, d *driven, b device, there bool) error {
	if !d.driver.Can.Stage || there {
		return nil
	}
	if err := root.MkdirAll(b.staged(), dirMode); err != nil {
		return err
	}
	v := d.volume
	var err error
	if v.Secrets, err = secretOf(ctx, k.cluster, d.source.NodeStageSecretRef); err != nil {
		return err
	}
	return d.driver.Stage(ctx, v, root.Join(b.staged()))
}

func (k *csiKind) publishDevice(ctx context.Context, root *safepath.Root, r *request, d *driven, b device, staged string) error {
	if err := root.MkdirAll(b.publishing(), dirMode); err != nil {
		return err
	}
	if err := begin(b.place(r.place.pod)); err != nil {
		return err
	}
	v, err := d.forPublish(ctx, k.cluster, r)
	if err != nil {
		return err
	}
	if err := d.driver.Publish(ctx, v, staged, root.Join(b.published(r.pod.UID)), r.readOnly); err != nil {
		return err
	}
	if !isDevice(root, b.published(r.pod.UID)) {
		return fmt.Errorf("the driver has published no device at %s", root.Join(b.published(r.pod.UID)))
	}
	return nil
}

// teardownDevices takes all devices from a pod.
func (v *Volumes) teardownDevices(ctx context.Context, uid types.UID) error {
	pod, err := v.openPod(uid)
	if err != nil || pod == nil {
		return err
	}
	defer pod.Close()
	names, err := list(pod, filepath.Join(devicesDir, csiDir))
	if err != nil || len(names) == 0 {
		return err
	}
	root, err := safepath.Open(v.root)
	if err != nil {
		return err
	}
	defer root.Close()
	var errs []error
	for _, name := range names {
		if err := v.csi.teardownDevice(ctx, root, pod, uid, device{name}); err != nil {
			errs = append(errs, fmt.Errorf("tear down device %q of pod %s: %w", name, uid, err))
		}
	}
	v.csi.left()
	return errors.Join(errs...)
}

func (k *csiKind) teardownDevice(ctx context.Context, root, pod *safepath.Root, uid types.UID, b device) error {
	at := b.published(uid)
	d, known, err := readData(root, b.data())
	if err != nil {
		return err
	}
	if known {
		unlock, err := k.locks.lock(ctx, d.key())
		if err != nil {
			return err
		}
		defer unlock()
		_, begun := pod.Lstat(b.place(pod).begun())
		if begun == nil || modeOf(root, at) != 0 {
			driver, err := k.driver(ctx, d.DriverName)
			if err != nil {
				return err
			}
			if err := driver.Unpublish(ctx, d.VolumeHandle, root.Join(at)); err != nil {
				return err
			}
		}
	}
	if err := mount.Unmount(root.Join(at), false); err != nil {
		return err
	}
	if err := root.Remove(at); err != nil {
		return err
	}
	if err := pod.RemoveAll(ctx, filepath.Dir(b.place(pod).ready())); err != nil {
		return err
	}
	return pod.Remove(b.link())
}

// devicesOf is what the links of a pod name.
func devicesOf(root, pod *safepath.Root) ([]csiData, error) {
	names, err := list(pod, filepath.Join(devicesDir, csiDir))
	if err != nil {
		return nil, err
	}
	var all []csiData
	for _, name := range names {
		d, ok, err := readData(root, device{name}.data())
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, d)
		}
	}
	return all, nil
}

// stagedDevices is what is known of devices, whether a pod uses them or not.
func stagedDevices(root *safepath.Root) (map[string]csiData, error) {
	all := map[string]csiData{}
	names, err := list(root, blockDir)
	for _, name := range names {
		if d, ok, err := readData(root, device{name}.data()); err == nil && ok {
			all[name] = d
		}
	}
	return all, err
}

// unstageDevice takes a device from the node. The volume is locked, and no pod uses it.
func (k *csiKind) unstageDevice(ctx context.Context, root *safepath.Root, s Staged) error {
	b := device{s.Device}
	if modeOf(root, b.staged()) != 0 {
		driver, err := k.driver(ctx, s.Driver)
		if err != nil {
			return err
		}
		if err := driver.Unstage(ctx, s.Handle, root.Join(b.staged())); err != nil {
			return err
		}
		if err := mount.Unmount(root.Join(b.staged()), false); err != nil {
			return err
		}
	}
	for _, dir := range []string{b.staged(), b.publishing()} {
		if err := root.Remove(dir); err != nil { // never with contents
			return err
		}
	}
	return root.RemoveAll(ctx, b.top())
}
