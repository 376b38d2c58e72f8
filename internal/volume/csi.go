package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/csi"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/mount"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/safepath"
	"github.com/bosun-project/bosun/internal/translate"
)

// csiKind are the volumes of CSI drivers: those behind claims, and those that are written into a pod (behaviour 184).
//
//	noted ──► attached ──► staged ──► published ──► owned
//	vol_data.json          once a node  once a pod    by fsGroup
//
// The way back is per pod to noted, then gone; and when no pod's directory names the volume any more, it is unstaged, by whoever
// calls Unstage. A crash at any point is mended by doing the same again: drivers must bear that.
type csiKind struct {
	volumes  *Volumes
	node     string
	drivers  *csi.Registry
	cluster  Cluster
	attach   time.Duration
	register time.Duration
	locks    locks
	selinux  *SELinux
	// unmanaged is Config.Unmanaged.
	unmanaged bool
	inUse     latest.Cell[[]v1.UniqueVolumeName]
	orphans   latest.Cell[int]

	mu sync.Mutex
	// loose are the drivers whose volumes need no attaching.
	loose map[string]bool
	// restless are the pods with a volume whose driver wants to publish it again and again.
	restless map[types.UID]bool
	// waits are what setups wait for, since when, by pod and volume.
	waits map[waiter]Wait
	// grown are the sizes that claims were told of.
	grown map[types.UID]string
}

// Restless tells that a pod has a volume whose driver wants to publish it again, now and then.
func (v *Volumes) Restless(uid types.UID) bool {
	v.csi.mu.Lock()
	defer v.csi.mu.Unlock()
	return v.csi.restless[uid]
}

func newCSI(v *Volumes, cfg Config) *csiKind {
	k := &csiKind{
		volumes: v, node: cfg.NodeName, drivers: cfg.Drivers, cluster: cfg.Cluster, selinux: cfg.SELinux, unmanaged: cfg.Unmanaged, attach: cfg.AttachWait, register: cfg.DriverWait, loose: map[string]bool{},
		restless: map[types.UID]bool{}, grown: map[types.UID]string{}, waits: map[waiter]Wait{},
	}
	if k.attach <= 0 {
		k.attach = 2*time.Minute + 3*time.Second
	}
	if k.register <= 0 {
		k.register = 10 * time.Second
	}
	if k.drivers == nil {
		k.drivers = csi.NewRegistry(0)
	}
	return k
}

func (*csiKind) dir() string { return csiDir }

func (*csiKind) holds(v *v1.Volume) bool { return v.CSI != nil }

func (k *csiKind) shown(r *request) translate.Volume {
	if r.block() {
		return translate.Volume{Device: filepath.Join(k.volumes.root, device{r.pv.Name}.published(r.pod.UID)), ReadOnly: r.readOnly}
	}
	at := filepath.Join(names.PodDir(k.volumes.root, r.pod.UID), "volumes", csiDir, r.name(), csiMount)
	return translate.Volume{HostPath: at, ReadOnly: r.readOnly, Relabel: !r.readOnly && relabels(at)}
}

// relabels tells whether a file system keeps SELinux labels of files.
func relabels(at string) bool {
	table, err := mount.Read()
	if err != nil {
		return false
	}
	m, ok := table.At(at)
	return ok && slices.Contains(strings.Split(m.FSOptions, ","), "seclabel")
}

// driven is a volume on its way to a pod.
type driven struct {
	csiData
	driver *csi.Driver
	// object is what the cluster knows of the driver; nil if nothing.
	object *storage.CSIDriver
	// source is the persistent volume's; nil for one written into the pod.
	source *v1.CSIPersistentVolumeSource
	volume csi.Volume
	// label is the SELinux label to mount with; empty if that is not to be done.
	label string
	// owned is the group that the agent gives the volume to; the driver may do that itself.
	owned ownership
}

func (k *csiKind) setup(ctx context.Context, r *request) error {
	d, err := k.describe(ctx, r)
	if err != nil {
		return failed(r, "MountVolume.SetUp", err)
	}
	if r.block() {
		return k.setupBlock(ctx, r, d)
	}
	p := r.place
	if err := p.pod.MkdirAll(p.path(), dirMode); err != nil {
		return err
	}
	if err := writeData(p.pod, p.path(), d.csiData); err != nil {
		return err
	}
	there, err := mount.IsMountPoint(d.target(p))
	if err != nil {
		return err
	}
	if there && isReady(p) && !d.republished() && !r.mayGrow() {
		return nil
	}
	if !there {
		if err := k.await(ctx, r, d); err != nil {
			return err
		}
	}
	if d.driver, err = k.driver(ctx, d.DriverName); err != nil {
		return failed(r, "MountVolume.SetUp", err)
	}
	unlock, err := k.locks.lock(ctx, d.key())
	if err != nil {
		return err
	}
	defer unlock()
	if there && isReady(p) && !d.republished() {
		return k.grow(ctx, r, d, k.stagedAt(d), d.target(p))
	}
	return k.publish(ctx, r, d, there)
}

// target is where a volume is published.
func (d *driven) target(p place) string { return filepath.Join(p.host(), csiMount) }

// publish stages a volume if need be, and publishes it. The volume is locked.
func (k *csiKind) publish(ctx context.Context, r *request, d *driven, there bool) error {
	d.equip(r)
	staged := ""
	if d.driver.Can.Stage && d.source != nil {
		var err error
		if staged, err = k.stage(ctx, r, d, there); err != nil {
			return failed(r, "MountVolume.MountDevice", err)
		}
	}
	if err := begin(r.place); err != nil {
		return err
	}
	v, err := d.forPublish(ctx, k.cluster, r)
	if err != nil {
		return failed(r, "MountVolume.SetUp", err)
	}
	if err := d.driver.Publish(ctx, v, staged, d.target(r.place), r.readOnly); err != nil {
		return failed(r, "MountVolume.SetUp", err)
	}
	if err := k.grow(ctx, r, d, staged, d.target(r.place)); err != nil {
		return err
	}
	if there && isReady(r.place) {
		return nil // containers may be using it
	}
	if err := own(ctx, r.place.pod, filepath.Join(r.place.path(), csiMount), d.owned); err != nil {
		return failed(r, "MountVolume.SetUp", fmt.Errorf("applyFSGroup failed for vol %s: %w", d.VolumeHandle, err))
	}
	return setReady(r.place)
}

// stage stages a volume on the node unless it is.
func (k *csiKind) stage(ctx context.Context, r *request, d *driven, there bool) (at string, err error) {
	root, err := safepath.Make(k.volumes.root, 0o755)
	if err != nil {
		return "", err
	}
	defer root.Close()
	dir := stagingDir(d.csiData)
	rel := filepath.Join(dir, csiStaging)
	at = root.Join(rel)
	done, err := mount.IsMountPoint(at)
	if err == nil && done && !there {
		done, err = k.relabelled(ctx, r, d, at)
	}
	if err != nil || done || there {
		return at, err
	}
	if err := root.MkdirAll(rel, dirMode); err != nil {
		return "", err
	}
	if err := writeData(root, dir, csiData{DriverName: d.DriverName, VolumeHandle: d.VolumeHandle}); err != nil {
		return "", err
	}
	v := d.volume
	if v.Secrets, err = secretOf(ctx, k.cluster, d.source.NodeStageSecretRef); err != nil {
		return "", err
	}
	return at, d.driver.Stage(ctx, v, at)
}

// begun is a file that says that a driver was asked to publish a volume to the pod: from then on it must be asked to take it back.
func (p place) begun() string { return filepath.Join(filepath.Dir(p.ready()), "begun") }

func hasBegun(p place) bool {
	_, err := p.pod.Lstat(p.begun())
	return err == nil
}

func begin(p place) error {
	if err := p.pod.MkdirAll(filepath.Dir(p.begun()), dirMode); err != nil {
		return err
	}
	f, err := p.pod.Create(p.begun(), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func (k *csiKind) teardown(ctx context.Context, p place) error {
	d, known, err := readData(p.pod, p.path())
	if err != nil {
		return err
	}
	if known {
		unlock, err := k.locks.lock(ctx, d.key())
		if err != nil {
			return err
		}
		defer unlock()
		if err := k.unpublish(ctx, p, d); err != nil {
			return err
		}
	}
	// A driver takes its mounts away. What is left of one that crashed, or of a volume that nothing is known of, is let go.
	target := filepath.Join(p.path(), csiMount)
	if err := mount.Unmount(p.pod.Join(target), false); err != nil {
		return err
	}
	if err := p.pod.Remove(target); err != nil { // never with contents: these are somebody's data
		return err
	}
	if err := p.pod.RemoveAll(ctx, p.path()); err != nil {
		return err
	}
	if err := p.pod.RemoveAll(ctx, filepath.Dir(p.ready())); err != nil {
		return err
	}
	k.left()
	return nil
}

// unpublish has the driver take a volume from a pod, if it was ever asked to bring it there.
func (k *csiKind) unpublish(ctx context.Context, p place, d csiData) error {
	_, begun := p.pod.Lstat(p.begun())
	_, there := p.pod.Lstat(filepath.Join(p.path(), csiMount))
	if errors.Is(begun, fs.ErrNotExist) && errors.Is(there, fs.ErrNotExist) {
		return nil
	}
	driver, err := k.driver(ctx, d.DriverName)
	if err != nil {
		return err
	}
	return driver.Unpublish(ctx, d.VolumeHandle, filepath.Join(p.host(), csiMount))
}

// driver finds a driver; it waits a moment for one that is about to register, as all are when the agent starts.
func (k *csiKind) driver(ctx context.Context, name string) (*csi.Driver, error) {
	late := time.NewTimer(k.register)
	defer late.Stop()
	for {
		_, newer := k.drivers.Drivers()
		d, err := k.drivers.Driver(name)
		if err == nil {
			return d, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-newer:
		case <-late.C:
			return nil, err
		}
	}
}
