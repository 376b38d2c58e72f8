package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/qos"
	"github.com/bosun-project/bosun/internal/safepath"
)

// Config says where the tree is.
type Config struct {
	// Driver is Cgroupfs unless set.
	Driver Driver
	// Root is cgroupRoot: the cgroup kubepods is made in; "" and "/" are the top. It is made if it is missing.
	Root string
	// Flat makes no cgroups for pods and classes (cgroupsPerQOS false): the runtime puts containers right into Root.
	Flat bool
	// Pod are the settings the limits of pods depend on. Without PageSizes, New reads what the kernel has.
	Pod Options
}

// Tree is the kubepods tree. It is the only writer of these cgroups. Its methods may be used by several goroutines,
// for different pods; every one can be repeated after a crash.
type Tree struct {
	driver Driver
	root   Name
	flat   bool
	opts   Options
	layout layout
	// limiting is layout.limiting(), computed once.
	limiting []hierarchy
	units    units

	// mkdir and rmdir are the kernel's, except in tests of the v2 files on a plain directory.
	mkdir func(dir string) error
	rmdir func(dir string) error

	classes sync.Mutex // held while the cgroups of the classes are made
}

// units makes and stops systemd slices. Nil with the cgroupfs driver.
type units interface {
	set(n Name, r Resources) error
	stop(n Name) error
}

// New looks at how cgroups are mounted. It makes nothing yet.
func New(cfg Config) (*Tree, error) {
	l, err := findLayout()
	if err != nil {
		return nil, err
	}
	if cfg.Pod.PageSizes == nil && !slices.Contains(l.missing(), "hugetlb") {
		cfg.Pod.PageSizes = cgroups.HugePageSizes()
	}
	return newTree(cfg, l)
}

func newTree(cfg Config, l layout) (*Tree, error) {
	root, err := ParseRoot(cfg.Root)
	if err != nil {
		return nil, err
	}
	t := &Tree{
		driver: cfg.Driver, root: root, flat: cfg.Flat, opts: cfg.Pod, layout: l, limiting: l.limiting(),
		mkdir: func(dir string) error { return unix.Mkdir(dir, 0o755) },
		rmdir: unix.Rmdir,
	}
	switch cfg.Driver {
	case "", Cgroupfs:
		t.driver = Cgroupfs
	case Systemd:
		if t.units, err = newSlices(l); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("cgroupDriver %q: must be %q or %q", cfg.Driver, Cgroupfs, Systemd)
	}
	return t, nil
}

// Version is 1 or 2: which version of cgroups sets the limits.
func (t *Tree) Version() int {
	if t.layout.v2 {
		return 2
	}
	return 1
}

// LimitsHugePages tells whether huge pages can be limited here: without the controller hugetlb they cannot, and some runtimes
// refuse containers that have such limits.
func (t *Tree) LimitsHugePages() bool { return !slices.Contains(t.layout.missing(), "hugetlb") }

// Parent is the cgroup_parent the runtime is told for a pod; empty leaves the choice to the runtime.
func (t *Tree) Parent(pod *v1.Pod) string {
	switch {
	case t.flat && len(t.root) == 0:
		return ""
	case t.flat:
		return t.root.Parent(t.driver)
	}
	return t.root.Pod(qos.ClassOf(pod), pod.UID).Parent(t.driver)
}

// Dir is where a pod's cgroup is in the hierarchy of a controller ("memory"), for those who read statistics; empty
// if the controller is not there.
func (t *Tree) Dir(controller string, pod *v1.Pod) string {
	for _, h := range t.limiting {
		if h.has(controller) {
			return t.path(&h, t.root.Pod(qos.ClassOf(pod), pod.UID))
		}
	}
	return ""
}

// All is where the cgroup of all pods is in the hierarchy of a controller, as Dir is for one of them; empty if there is none.
func (t *Tree) All(controller string) string {
	for _, h := range t.limiting {
		if h.has(controller) && !t.flat {
			return t.path(&h, t.root.Kubepods())
		}
	}
	return ""
}

func (t *Tree) path(h *hierarchy, n Name) string { return filepath.Join(h.dir, n.Path(t.driver)) }

// EnsureQOS makes the root, kubepods and the cgroups of the QoS classes where they are missing. The warning is not
// empty if controllers are missing on this machine; limits of those are then not applied.
func (t *Tree) EnsureQOS(ctx context.Context) (warning string, err error) {
	t.classes.Lock()
	defer t.classes.Unlock()
	names := []Name{}
	for i := range t.root {
		names = append(names, t.root[:i+1])
	}
	classes := 0
	if !t.flat {
		names = append(names, t.root.Kubepods(), t.root.QOS(v1.PodQOSBurstable), t.root.QOS(v1.PodQOSBestEffort))
		classes = 2
	}
	if t.layout.v2 {
		if err := delegate(t.limiting[0].dir); err != nil {
			return "", fmt.Errorf("set up cgroup %s: %w", t.limiting[0].dir, err)
		}
	}
	for i, n := range names {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		r := Resources{}
		if i >= len(names)-classes && (i == len(names)-1 || !t.exists(n)) {
			r.CPUShares = MinShares // burstable gets its sum from SetBurstableShares
		}
		if err := t.set(n, r); err != nil {
			return "", fmt.Errorf("set up cgroup %s: %w", n.Path(t.driver), err)
		}
	}
	if m := t.layout.missing(); len(m) > 0 {
		warning = fmt.Sprintf("cgroup v%d has no controller for %s here: such limits are not applied to pods", t.Version(), strings.Join(m, ", "))
	}
	return warning, nil
}

// SetNodeLimits writes the limits of kubepods (enforceNodeAllocatable, behaviour 207).
func (t *Tree) SetNodeLimits(_ context.Context, r Resources) error {
	if t.flat {
		return nil
	}
	if err := t.set(t.root.Kubepods(), r); err != nil {
		return fmt.Errorf("limit all pods: %w", err)
	}
	return nil
}

// SetReserve writes the limits of a cgroup that is somebody else's: systemReservedCgroup or kubeReservedCgroup, from the
// top and not from Root, with or without the ".slice" of systemd (behaviour 210). It must be there.
func (t *Tree) SetReserve(_ context.Context, cgroup string, r Resources) error {
	n, err := ParseRoot(cgroup)
	if err != nil {
		return err
	}
	if t.driver == Systemd {
		for i := range n {
			n[i] = strings.TrimSuffix(n[i], ".slice")
		}
	}
	if len(n) == 0 || !t.exists(n) {
		return fmt.Errorf("limit cgroup %s: it is not there; make it, or do not enforce this reservation in enforceNodeAllocatable: %w", cgroup, fs.ErrNotExist)
	}
	if err := t.change(n, r); err != nil {
		return fmt.Errorf("limit cgroup %s: %w", cgroup, err)
	}
	return nil
}

// SetBurstableShares writes the weight of the burstable class (behaviour 206).
func (t *Tree) SetBurstableShares(_ context.Context, shares uint64) error {
	if t.flat {
		return nil
	}
	if err := t.set(t.root.QOS(v1.PodQOSBurstable), Resources{CPUShares: shares}); err != nil {
		return fmt.Errorf("weigh burstable pods: %w", err)
	}
	return nil
}

// Protect keeps the memory that pods ask for from being reclaimed, or no more if both are 0: of all pods, and of the burstable ones among
// them. What a pod's own cgroup says counts only as far as those above it say so too. cgroup v1 has no such thing.
func (t *Tree) Protect(_ context.Context, all, burstable int64) error {
	if t.flat || !t.layout.v2 {
		return nil
	}
	err := t.set(t.root.Kubepods(), protection(all, burstable))
	if err == nil {
		err = t.set(t.root.QOS(v1.PodQOSBurstable), protection(0, burstable))
	}
	if err != nil {
		return fmt.Errorf("protect the memory of pods: %w", err)
	}
	return nil
}

// Ensure makes a pod's cgroup, and the tree above it if that is missing, and writes its limits (behaviours 205, 364). own tells that
// containers of it have processors of their own: then the time it may use of processors is not limited (behaviour 218).
func (t *Tree) Ensure(ctx context.Context, pod *v1.Pod, own bool) error {
	n, err := t.pod(pod)
	if err != nil || t.flat {
		return err
	}
	r := t.resources(pod, own)
	err = t.set(n, r)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err = t.EnsureQOS(ctx); err == nil {
			err = t.set(n, r)
		}
	}
	if err != nil {
		return fmt.Errorf("make cgroup of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

func (t *Tree) resources(pod *v1.Pod, own bool) Resources {
	o := t.opts
	o.NoQuota = o.NoQuota || own
	return PodResources(pod, o)
}

// Lost tells whether a pod, which is to have a cgroup, has it in no hierarchy: it was made for another driver or root.
func (t *Tree) Lost(pod *v1.Pod) bool {
	n, err := t.pod(pod)
	if err != nil || t.flat {
		return false
	}
	for _, h := range t.limiting {
		if _, err := os.Lstat(t.path(&h, n)); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// Exists tells whether a pod has its cgroup in every hierarchy that limits it.
func (t *Tree) Exists(pod *v1.Pod) bool {
	n, err := t.pod(pod)
	return err == nil && t.exists(n)
}

func (t *Tree) exists(n Name) bool {
	for _, h := range t.limiting {
		if _, err := os.Lstat(t.path(&h, n)); err != nil {
			return false
		}
	}
	return true
}

func (t *Tree) pod(pod *v1.Pod) (Name, error) {
	if err := safepath.Component(string(pod.UID)); err != nil {
		return nil, fmt.Errorf("pod %s/%s: metadata.uid: %w", pod.Namespace, pod.Name, err)
	}
	return t.root.Pod(qos.ClassOf(pod), pod.UID), nil
}

var classes = []v1.PodQOSClass{v1.PodQOSGuaranteed, v1.PodQOSBurstable, v1.PodQOSBestEffort}

// Pods lists the UIDs of the pods that have a cgroup in any hierarchy, sorted.
func (t *Tree) Pods() ([]types.UID, error) {
	found := map[types.UID]bool{}
	for _, h := range t.layout.all {
		for _, class := range classes {
			parent := t.root.QOS(class)
			entries, err := os.ReadDir(t.path(&h, parent))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("list pod cgroups: %w", err)
			}
			for _, e := range entries {
				if uid, ok := parent.podUID(t.driver, e.Name()); ok && e.IsDir() {
					found[uid] = true
				}
			}
		}
	}
	uids := make([]types.UID, 0, len(found))
	for uid := range found {
		uids = append(uids, uid)
	}
	slices.Sort(uids)
	return uids, nil
}

// change writes limits of a cgroup that is there, and leaves what its children may use to its owner.
func (t *Tree) change(n Name, r Resources) error {
	if t.units != nil {
		return t.units.set(n, r)
	}
	for i := range t.limiting {
		h := &t.limiting[i]
		settings := settingsV1(r, false)
		if h.unified {
			settings = settingsV2(r, false)
		}
		if err := apply(h, t.path(h, n), settings); err != nil {
			return err
		}
	}
	return nil
}

// set makes a cgroup if it is missing and writes what differs.
func (t *Tree) set(n Name, r Resources) error {
	if t.units != nil {
		return t.units.set(n, r)
	}
	for i := range t.limiting {
		h := &t.limiting[i]
		dir := t.path(h, n)
		err := t.mkdir(dir)
		fresh := err == nil
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: err}
		}
		settings := settingsV1(r, fresh)
		if h.unified {
			settings = settingsV2(r, fresh)
		}
		if err := apply(h, dir, settings); err != nil {
			return err
		}
		if h.unified {
			if err := delegate(dir); err != nil {
				return err
			}
		}
	}
	return nil
}
