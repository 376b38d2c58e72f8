package userns

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
	"syscall"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/safepath"
	"github.com/bosun-project/bosun/internal/translate"
)

// Config is what Ranges are built from.
type Config struct {
	// RootDir is the state directory; pods are in <RootDir>/pods. It is made if it is missing.
	RootDir string
	// IDsPerPod is how many ids each pod gets (config userNamespaces.idsPerPod), a multiple of 65536. 0 is 65536.
	IDsPerPod int64
	// MaxPods is how many pods the node must have ids for (config maxPods).
	MaxPods int
}

// Ranges hands out ranges of host ids. Its methods may be used by several goroutines.
type Ranges struct {
	root   *safepath.Root
	ids    Span
	perPod uint64

	mu   sync.Mutex
	held map[types.UID]*holding
	// used counts, for each slot of perPod ids, the pods that have ids in it: one at most, or two for records of
	// other times that do not lie on the borders of today's slots.
	used []uint16
	// next is where the search for a free slot begins: ids rest as long as possible before they are used again.
	next int
}

// holding is what a pod has.
type holding struct {
	ids Span
	// recorded says that the pod's record is on disk.
	recorded bool
	// released says that the ids are free as soon as the pod's directory is gone.
	released bool
	// damaged says why the pod's record cannot be used; ids then is what could be guessed, to keep others off it.
	damaged error
}

// Damage is a pod whose record cannot be used.
type Damage struct {
	UID types.UID
	Err error
}

// New finds out which ids are for pods, and reads the records of the pods that have a directory. It is an error if the
// operator set ids aside that cannot be used. Close the Ranges at the end.
func New(ctx context.Context, cfg Config) (*Ranges, error) { return open(ctx, cfg, thisMachine()) }

func open(ctx context.Context, cfg Config, m machine) (*Ranges, error) {
	perPod := cmp.Or(cfg.IDsPerPod, Unit)
	if perPod < 0 || perPod%Unit != 0 || perPod > last {
		return nil, fmt.Errorf("userNamespaces.idsPerPod is %d: want a multiple of %d, below %d", perPod, Unit, uint64(last)+1)
	}
	if cfg.MaxPods < 0 || cfg.MaxPods > last {
		return nil, fmt.Errorf("maxPods is %d: want 0 or more, below %d", cfg.MaxPods, uint64(last)+1)
	}
	d, err := m.delegated(ctx)
	if err != nil {
		return nil, fmt.Errorf("find out which ids are for pods with hostUsers: false: %w", err)
	}
	ids, err := choose(d, uint64(perPod), cfg.MaxPods)
	if err != nil {
		return nil, err
	}
	root, err := safepath.Make(cfg.RootDir, 0o755)
	if err != nil {
		return nil, err
	}
	r := &Ranges{root: root, ids: ids, perPod: uint64(perPod), held: map[types.UID]*holding{}}
	r.used = make([]uint16, ids.Count/r.perPod)
	if err := r.scan(); err != nil {
		root.Close()
		return nil, fmt.Errorf("read which ids pods have: %w", err)
	}
	return r, nil
}

// Close ends the use of the state directory.
func (r *Ranges) Close() error { return r.root.Close() }

// scan reads all records. It is over when New returns, so it needs no lock.
func (r *Ranges) scan() error {
	found, err := r.root.ReadDir("pods")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	slices.Sort(found)
	for _, name := range found {
		if strings.HasPrefix(name, ".") {
			continue
		}
		uid := types.UID(name)
		if h := r.recorded(uid); h != nil && !errors.Is(h.damaged, syscall.ENOTDIR) { // else a stray file, not a pod
			r.hold(uid, h)
		}
	}
	return nil
}

// recorded is what a pod has by its record; nil if there is none.
func (r *Ranges) recorded(uid types.UID) *holding {
	ids, found, err := read(r.root, uid)
	if !found {
		return nil
	}
	if err == nil {
		err = r.shared(uid, ids)
	}
	if err != nil {
		return &holding{ids: r.guess(uid), damaged: err}
	}
	return &holding{ids: ids, recorded: true}
}

// shared says which other pod has some of a pod's ids already.
func (r *Ranges) shared(of types.UID, ids Span) error {
	for uid, h := range r.held {
		if uid != of && h.damaged == nil && ids.First < h.ids.end() && h.ids.First < ids.end() {
			return fmt.Errorf("pod %s has ids of the same range (%s)", uid, h.ids)
		}
	}
	return nil
}

// guess finds out what it can about the ids of a pod whose record is of no use: its hosts file belongs to the first.
func (r *Ranges) guess(uid types.UID) Span {
	info, err := r.root.Lstat(filepath.Join("pods", string(uid), "etc-hosts"))
	if err != nil {
		return Span{}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid < Unit {
		return Span{}
	}
	return Span{First: uint64(st.Uid), Count: r.perPod}
}

// Damaged lists the pods whose records New could not use, sorted. Range gives the same error for them.
func (r *Ranges) Damaged() []Damage {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Damage
	for uid, h := range r.held {
		if h.damaged != nil {
			all = append(all, Damage{uid, r.refuse(uid, h)})
		}
	}
	slices.SortFunc(all, func(a, b Damage) int { return strings.Compare(string(a.UID), string(b.UID)) })
	return all
}

func (r *Ranges) refuse(uid types.UID, h *holding) error {
	return fmt.Errorf("the record of the user ids of pod %s, %s, cannot be used: %w; remove the pod and make it anew, or stop its containers and then remove the file",
		uid, r.root.Join(filepath.Join("pods", string(uid), recordName)), h.damaged)
}

// Range returns the ids of a pod, the same ones every time until it is released. It is nil for a pod that shares the
// node's user namespace. The range is recorded on disk before Range returns.
func (r *Ranges) Range(_ context.Context, p *v1.Pod) (*translate.IDRange, error) {
	if p.Spec.HostUsers == nil || *p.Spec.HostUsers {
		return nil, nil
	}
	if err := safepath.Component(string(p.UID)); err != nil {
		return nil, fmt.Errorf("pod %s/%s: metadata.uid: %w", p.Namespace, p.Name, err)
	}
	ids, recorded, err := r.claim(p.UID)
	if err != nil {
		return nil, fmt.Errorf("set aside user ids for pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	if recorded {
		return ids.idRange(), nil
	}
	// Without the lock: a slow disk holds up this pod only. Should two calls come here for one pod, they write the same.
	if err := write(r.root, p.UID, ids); err != nil {
		return nil, fmt.Errorf("record the user ids of pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.held[p.UID]; h != nil && h.ids == ids && !h.released {
		h.recorded = true
	}
	return ids.idRange(), nil
}

// claim finds or makes the holding of a pod.
func (r *Ranges) claim(uid types.UID) (ids Span, recorded bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep()
	if h := r.held[uid]; h != nil && h.damaged != nil {
		if err := r.mended(uid, h); err != nil {
			return Span{}, false, err
		}
	}
	if h := r.held[uid]; h != nil {
		if h.released { // the same pod once more, before its directory was gone: the record may be gone already
			h.released, h.recorded = false, false
		}
		return h.ids, h.recorded, nil
	}
	for i := range r.used {
		slot := (r.next + i) % len(r.used)
		if r.used[slot] == 0 {
			r.next = slot + 1
			h := &holding{ids: Span{First: r.ids.First + uint64(slot)*r.perPod, Count: r.perPod}}
			r.hold(uid, h)
			return h.ids, false, nil
		}
	}
	return Span{}, false, fmt.Errorf("all %s are in use, by %d pods; this will go on when one of them is gone", r.ids, len(r.held))
}

// mended looks again at a record that was damaged: somebody may have put it right, or taken it away.
func (r *Ranges) mended(uid types.UID, old *holding) error {
	h := r.recorded(uid)
	if h != nil && h.damaged != nil {
		old.damaged = h.damaged
		return r.refuse(uid, old)
	}
	r.count(old.ids, -1)
	delete(r.held, uid)
	if h != nil {
		r.hold(uid, h)
	}
	return nil
}

// Release frees the ids of a pod. They are given to another pod only after the pod's directory is gone; until then a
// Range for the same pod returns them again. A pod without ids is no error.
func (r *Ranges) Release(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.held[uid]; h != nil {
		h.released = true
	}
	r.sweep()
}

// First is the host id that stands for id 0 in a pod's containers, of users and of groups. It is false for a pod that
// has no ids of its own (yet); Range comes before the files of a pod with a user namespace of its own.
func (r *Ranges) First(uid types.UID) (uint32, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.held[uid]
	if h == nil || h.damaged != nil {
		return 0, false
	}
	return uint32(h.ids.First), true
}

// sweep forgets what was released by pods whose directories are gone.
func (r *Ranges) sweep() {
	for uid, h := range r.held {
		if !h.released {
			continue
		}
		if _, err := r.root.Lstat(filepath.Join("pods", string(uid))); errors.Is(err, fs.ErrNotExist) {
			r.count(h.ids, -1)
			delete(r.held, uid)
		}
	}
}

func (r *Ranges) hold(uid types.UID, h *holding) {
	r.held[uid] = h
	r.count(h.ids, 1)
}

// count notes in all slots that some ids lie in that one pod more (1) or less (-1) has ids there.
func (r *Ranges) count(ids Span, by int) {
	from, to := max(ids.First, r.ids.First), min(ids.end(), r.ids.end())
	for at := from; at < to; at += r.perPod - at%r.perPod {
		slot := (at - r.ids.First) / r.perPod
		r.used[slot] = uint16(int(r.used[slot]) + by)
	}
}
