package volume

import (
	"cmp"
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
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/csi"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/safepath"
	"github.com/bosun-project/bosun/internal/translate"
)

// Config says where volumes are and what the node has.
type Config struct {
	// RootDir is the state directory; pods are in <RootDir>/pods. It is made if it is missing.
	RootDir string
	// Allocatable is what the node can give to pods: memory bounds memory volumes, and the downward API shows it as
	// the limit of containers that have none.
	Allocatable v1.ResourceList
	// NodeName is the node's name, Cluster what the API server has for volumes of claims and drivers, and Drivers the CSI
	// drivers of the node. Cluster is nil without an API server; such volumes do not work then.
	NodeName string
	Cluster  Cluster
	Drivers  *csi.Registry
	// AttachWait is how long one setup waits for a volume to be attached. Default 2 min 3 s (behaviour 171); DriverWait is how
	// long a call waits for its driver to register. Default 10 s.
	AttachWait, DriverWait time.Duration
	// MountProgram is mount(8), for file systems that the kernel cannot mount alone. Default "mount".
	MountProgram string
	// Unmanaged tells that the controller does not attach volumes to this node (enableControllerAttachDetach: false): those of CSI drivers
	// that have to be attached can be had only if somebody else attaches them.
	Unmanaged bool
	// SELinux says how volumes get their labels; nil on a node without SELinux, and then nothing is done about labels.
	SELinux *SELinux
	// Content computes the files of a configMap, secret, downwardAPI or projected volume. It is asked at each setup and
	// may wait for objects. If it is nil there is no API server, and only what shows the pod itself works.
	Content func(context.Context, *v1.Pod, *v1.Volume) (content.Files, error)
	// Notes hears what takes long; may be nil.
	Notes note.Sink
}

// Volumes sets up and tears down the volumes of pods. Its methods may be used by several goroutines, as long as no two
// of them work on the same volume of the same pod.
type Volumes struct {
	root  string
	notes note.Sink
	kinds []kind
	// works is what can be used, for errors.
	works string
	// cluster is nil without an API server.
	cluster      Cluster
	csi          *csiKind
	mountProgram string

	mu sync.Mutex
	// made is where the volumes are that depend on more than the pod, by pod and volume, since this process has set them up.
	made map[types.UID]map[string]translate.Volume
}

// kind is one sort of volume.
type kind interface {
	// dir is the name of the kind's directory below <pod>/volumes; empty if its volumes are used in place.
	dir() string
	// holds tells whether a volume is of this kind.
	holds(v *v1.Volume) bool
	// setup makes the volume, or completes what an earlier call began.
	setup(ctx context.Context, r *request) error
	// shown says how the volume is shown to containers. HostPath is filled in for a kind with dir.
	shown(r *request) translate.Volume
	// teardown takes away what setup made. It is not called for a kind without dir.
	teardown(ctx context.Context, p place) error
}

// request asks a kind to set up one volume.
type request struct {
	pod    *v1.Pod
	volume *v1.Volume
	// field is where the volume's source is in the pod, such as spec.volumes[0].emptyDir.
	field string
	place place
	notes note.Sink // may be nil
	// pv is the persistent volume behind the claim, nil if the volume has none; readOnly is what the pod says of it.
	pv       *v1.PersistentVolume
	claim    *v1.PersistentVolumeClaim
	readOnly bool
}

// name is what the volume's directory is called.
func (r *request) name() string {
	if r.pv != nil {
		return r.pv.Name
	}
	return r.volume.Name
}

// place is where a volume with a directory of its own lives.
type place struct {
	// pod is the pod's directory.
	pod *safepath.Root
	// kind and name are the last two elements of the volume's path.
	kind, name string
}

// path is the volume's directory relative to the pod's.
func (p place) path() string { return filepath.Join("volumes", p.kind, p.name) }

// host is the volume's directory as the runtime is told.
func (p place) host() string { return p.pod.Join(p.path()) }

// ready is the file that says that setup was done once, so that an owner is not forced on files of running containers.
func (p place) ready() string { return filepath.Join("plugins", p.kind, p.name, "ready") }

const (
	dirMode fs.FileMode = 0o750
	// kindMode is that of the directories of kinds. Modes are upstream's, as seen on a node: nobody but root passes the pod's directory.
	kindMode fs.FileMode = 0o755
	// openMode is that of the top of a volume: what a container may write there, its mount says. In memory the sticky bit, which a fresh
	// tmpfs has, stays.
	openMode   fs.FileMode = 0o777
	memoryMode             = openMode | fs.ModeSticky
)

// New only keeps the configuration.
func New(cfg Config) *Volumes {
	v := &Volumes{
		root: cfg.RootDir, notes: cfg.Notes, works: worksNow, kinds: []kind{emptyDir{memory: cfg.Allocatable.Memory().Value()}, hostPath{}},
		made: map[types.UID]map[string]translate.Volume{}, cluster: cfg.Cluster, mountProgram: cmp.Or(cfg.MountProgram, "mount"),
	}
	if cfg.Content == nil {
		v.works = worksAlone
	}
	v.kinds = append(v.kinds, writtenKinds(cfg)...)
	v.csi = newCSI(v, cfg)
	v.kinds = append(v.kinds, nfs{v.mountProgram})
	if cfg.Cluster != nil {
		v.kinds = append(v.kinds, v.csi, local{})
	}
	return v
}

// Setup makes one volume of a pod ready to be shown to containers. Errors are *SetupError; a volume of a kind that is
// not supported also is fault.ErrUnsupported.
func (v *Volumes) Setup(ctx context.Context, p *v1.Pod, volume string) (translate.Volume, error) {
	k, r, err := v.find(p, volume)
	if err == nil && content.Claimed(r.volume) {
		if k, err = v.claim(ctx, r); err == nil { // two volumes of a pod may be of one claim
			var unlock func()
			if unlock, err = v.csi.locks.lock(ctx, string(p.UID)+"/"+r.name()); err == nil {
				defer unlock()
			}
		}
	}
	if err == nil && k.dir() != "" {
		var pod *safepath.Root
		if pod, err = v.makePod(p.UID); err == nil {
			defer pod.Close()
			r.place = place{pod: pod, kind: k.dir(), name: r.name()}
			if err = pod.MkdirAll("volumes", dirMode); err == nil {
				err = pod.MkdirAll(filepath.Dir(r.place.path()), kindMode)
			}
		}
	}
	if err == nil {
		err = k.setup(ctx, r)
	}
	if err != nil {
		return translate.Volume{}, &SetupError{Pod: p.Namespace + "/" + p.Name, Volume: volume, Err: err}
	}
	return v.remember(k, r), nil
}

// find looks up a volume of a pod and its kind, which is nil for that of a claim: the persistent volume decides.
func (v *Volumes) find(p *v1.Pod, volume string) (kind, *request, error) {
	if err := safepath.Component(string(p.UID)); err != nil {
		return nil, nil, fmt.Errorf("metadata.uid: %w", err)
	}
	i := slices.IndexFunc(p.Spec.Volumes, func(x v1.Volume) bool { return x.Name == volume })
	if i < 0 {
		return nil, nil, errors.New("spec.volumes has no volume of this name")
	}
	if err := safepath.Component(volume); err != nil {
		return nil, nil, fmt.Errorf("spec.volumes[%d].name: %w", i, err)
	}
	r := &request{pod: p, volume: &p.Spec.Volumes[i], notes: v.notes}
	r.field = sourceField(p, r.volume)
	if v.cluster != nil && content.Claimed(r.volume) {
		return nil, r, nil
	}
	for _, k := range v.kinds {
		if k.holds(r.volume) {
			return k, r, nil
		}
	}
	return nil, nil, &unsupported{field: r.field, why: instead(sourceName(&r.volume.VolumeSource)), works: v.works}
}

// locate tells where a volume is that is set up.
func (v *Volumes) locate(k kind, r *request) (translate.Volume, error) {
	if k == nil || k == kind(v.csi) {
		v.mu.Lock()
		defer v.mu.Unlock()
		at, ok := v.made[r.pod.UID][r.volume.Name]
		if !ok {
			return at, errors.New("it is not set up")
		}
		return at, nil
	}
	return v.place(k, r), nil
}

func (v *Volumes) place(k kind, r *request) translate.Volume {
	at := k.shown(r)
	at.Group = r.group()
	if at.HostPath == "" && at.Device == "" {
		at.HostPath = filepath.Join(names.PodDir(v.root, r.pod.UID), "volumes", k.dir(), r.name())
	}
	return at
}

// remember notes where a volume is that has just been set up.
func (v *Volumes) remember(k kind, r *request) translate.Volume {
	at := v.place(k, r)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.made[r.pod.UID] == nil {
		v.made[r.pod.UID] = map[string]translate.Volume{}
	}
	v.made[r.pod.UID][r.volume.Name] = at
	return at
}

// TearDown unmounts and removes everything volumes have in a pod's directory: subpaths first, then each volume. One
// that fails does not keep the others. It is no error if nothing is there.
func (v *Volumes) TearDown(ctx context.Context, uid types.UID) error {
	if err := v.TeardownSubpaths(ctx, uid, ""); err != nil {
		return err
	}
	found, err := v.Found(uid)
	if err != nil {
		return err
	}
	v.mu.Lock()
	delete(v.made, uid)
	v.mu.Unlock()
	v.csi.mu.Lock()
	delete(v.csi.restless, uid)
	v.csi.mu.Unlock()
	errs := make([]error, len(found))
	var work sync.WaitGroup
	var devices error
	for i, volume := range found { // at once: a driver that hangs holds up only its own
		work.Go(func() { errs[i] = v.Teardown(ctx, uid, volume) })
	}
	work.Go(func() { devices = v.teardownDevices(ctx, uid) })
	work.Wait()
	return errors.Join(append(errs, devices)...)
}

// maxEnvFile is the largest env file that is read.
const maxEnvFile = 64 << 10

// Read reads a regular file of at most 64 KiB in a volume of a pod that is set up. Symbolic links are followed as long
// as they stay in the volume (behaviour 73).
func (v *Volumes) Read(_ context.Context, p *v1.Pod, volume, path string) ([]byte, error) {
	k, r, err := v.find(p, volume)
	if err != nil {
		return nil, fmt.Errorf("read %s in volume %q of pod %s/%s: %w", path, volume, p.Namespace, p.Name, err)
	}
	at, err := v.locate(k, r)
	if err != nil {
		return nil, fmt.Errorf("read %s in volume %q of pod %s/%s: %w", path, volume, p.Namespace, p.Name, err)
	}
	dir, err := openVolume(at)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.ReadFile(path, maxEnvFile)
}

// Teardown unmounts and removes one volume of a pod. It is no error if it is not there. Volumes used in place, such as
// hostPath, are left alone. The volume's subpaths must be gone before.
func (v *Volumes) Teardown(ctx context.Context, uid types.UID, volume string) error {
	err := v.teardown(ctx, uid, volume)
	if err != nil {
		return fmt.Errorf("tear down volume %q of pod %s: %w", volume, uid, err)
	}
	return nil
}

func (v *Volumes) teardown(ctx context.Context, uid types.UID, volume string) error {
	if err := safepath.Component(volume); err != nil {
		return err
	}
	pod, err := v.openPod(uid)
	if err != nil || pod == nil {
		return err
	}
	defer pod.Close()
	dirs, err := list(pod, "volumes")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		p := place{pod: pod, kind: dir, name: volume}
		if _, err := pod.Lstat(p.path()); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		k := v.kindIn(dir)
		if k == nil {
			return &unsupported{field: p.path(), works: v.works}
		}
		if err := k.teardown(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// Found lists the volumes of a pod that have a directory on disk, of whatever kind, sorted. Volumes used in place are
// not among them.
func (v *Volumes) Found(uid types.UID) ([]string, error) {
	pod, err := v.openPod(uid)
	if err != nil || pod == nil {
		return nil, err
	}
	defer pod.Close()
	dirs, err := list(pod, "volumes")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, dir := range dirs {
		volumes, err := list(pod, filepath.Join("volumes", dir))
		if err != nil {
			return nil, err
		}
		found = append(found, volumes...)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// Pods lists the pods that have a directory on disk, sorted.
func (v *Volumes) Pods() ([]types.UID, error) {
	root, err := safepath.Open(v.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dirs, err := list(root, "pods")
	if err != nil {
		return nil, err
	}
	var uids []types.UID
	for _, dir := range dirs {
		if !strings.HasPrefix(dir, ".") {
			uids = append(uids, types.UID(dir))
		}
	}
	return uids, nil
}

// kindIn is the kind whose volumes live in a directory of this name, nil if none does.
func (v *Volumes) kindIn(dir string) kind {
	for _, k := range v.kinds {
		if d := k.dir(); d != "" && d == dir {
			return k
		}
	}
	return nil
}

// makePod opens the directory of a pod, and makes it if need be.
func (v *Volumes) makePod(uid types.UID) (*safepath.Root, error) {
	root, err := safepath.Make(v.root, 0o755)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.MakeSub(filepath.Join("pods", string(uid)), dirMode)
}

// openPod opens the directory of a pod; nil if there is none.
func (v *Volumes) openPod(uid types.UID) (*safepath.Root, error) {
	if err := safepath.Component(string(uid)); err != nil {
		return nil, err
	}
	pod, err := safepath.Open(names.PodDir(v.root, uid))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return pod, err
}

// openVolume opens the root of a volume for what containers may have put there: links are followed only beneath it.
func openVolume(at translate.Volume) (*safepath.Root, error) {
	top, err := safepath.Open("/")
	if err != nil {
		return nil, err
	}
	defer top.Close()
	// The way to the volume is the agent's or, for hostPath, the host's.
	dir, err := top.With(safepath.LinksAsRoot).Sub(inTop(at.HostPath))
	if err != nil {
		return nil, err
	}
	return dir.With(safepath.LinksBeneath), nil
}

// inTop spells an absolute path relative to "/".
func inTop(path string) string {
	if rel := strings.TrimLeft(filepath.Clean(path), "/"); rel != "" {
		return rel
	}
	return "."
}

// list is the sorted names in a directory; none if it does not exist.
func list(r *safepath.Root, dir string) ([]string, error) {
	found, err := r.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	slices.Sort(found)
	return found, err
}
