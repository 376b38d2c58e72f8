package worker

import (
	"cmp"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

// begin makes workers for pods that have none: first those that are left over, then the wanted ones in the order in
// which they were made (behaviour 31).
func (s *Set) begin(wanted Wanted, node Node) []*running {
	var fresh []*running
	for _, uid := range s.leftovers(wanted) {
		fresh = append(fresh, s.add(s.leftover(uid), node))
	}
	var missing []*pod.Desired
	for uid, d := range wanted.Pods {
		if s.workers[uid] == nil {
			missing = append(missing, d)
		}
	}
	slices.SortFunc(missing, func(a, b *pod.Desired) int {
		return cmp.Or(a.Pod.CreationTimestamp.Compare(b.Pod.CreationTimestamp.Time), a.Seen.Compare(b.Seen),
			cmp.Compare(a.Pod.Namespace, b.Pod.Namespace), cmp.Compare(a.Pod.Name, b.Pod.Name), cmp.Compare(a.UID(), b.UID()))
	})
	for _, d := range missing {
		fresh = append(fresh, s.add(d, node))
	}
	return fresh
}

// leftovers are pods that nobody wants and of which there is still something: in the runtime, in the ledger, on disk.
// Until every source has spoken nobody can know that (behaviour 6).
func (s *Set) leftovers(wanted Wanted) []types.UID {
	if !wanted.Ready || wanted.Doubt {
		return s.superseded(wanted)
	}
	uids := map[types.UID]bool{}
	for uid, st := range s.strays {
		if len(st.observed.Sandboxes)+len(st.observed.Containers) > 0 || st.kept {
			if !s.cfg.LeaveStrays || st.kept {
				uids[uid] = true
			}
		} else if wanted.Pods[uid] == nil {
			delete(s.strays, uid)
		}
	}
	for uid := range s.cfg.Remembered {
		uids[uid] = true
	}
	for uid := range s.found {
		uids[uid] = true
	}
	var out []types.UID
	for uid := range uids {
		if wanted.Pods[uid] == nil && s.workers[uid] == nil {
			out = append(out, uid)
		}
	}
	for uid := range s.found { // what is wanted, or has a worker, is no leftover
		if !slices.Contains(out, uid) {
			delete(s.found, uid)
		}
	}
	slices.Sort(out)
	return out
}

// superseded are the leftovers that are older versions of static pods.
func (s *Set) superseded(wanted Wanted) []types.UID {
	var out []types.UID
	look := func(uid types.UID, namespace, name string) {
		full := pod.FullName(name + "_" + namespace)
		if name != "" && wanted.Pods[uid] == nil && s.workers[uid] == nil && !slices.Contains(out, uid) && wanted.staticOf(full) {
			out = append(out, uid)
		}
	}
	for uid, st := range s.strays {
		if !s.cfg.LeaveStrays {
			look(uid, st.namespace, st.name)
		}
	}
	for uid, r := range s.cfg.Remembered {
		look(uid, r.Namespace, r.Name)
	}
	slices.Sort(out)
	return out
}

// leftover is what is known of a pod that no source names.
func (s *Set) leftover(uid types.UID) *pod.Desired {
	if st := s.strays[uid]; st.name != "" {
		return translate.Orphan(uid, pod.Report{
			Namespace: st.namespace, Name: st.name, Sandboxes: st.observed.Sandboxes, Containers: st.observed.Containers,
		}, time.Now())
	}
	rec, ok := s.cfg.Remembered[uid]
	if !ok {
		rec.Namespace, rec.Name = s.found[uid].Namespace, s.found[uid].Name
	}
	return &pod.Desired{
		Pod:    &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid, Namespace: rec.Namespace, Name: rec.Name}},
		Source: pod.FromRuntime,
	}
}

// add makes the worker of a pod; the caller starts it.
func (s *Set) add(d *pod.Desired, node Node) *running {
	uid := d.UID()
	now := time.Now()
	observed, kept := s.strays[uid].observed, s.strays[uid].kept
	delete(s.strays, uid)
	delete(s.found, uid)
	if observed.Inspected.IsZero() && !node.Relisted.IsZero() && !kept {
		observed.Inspected = now // the listing told of everything there is, and this pod was not in it
	}
	w := &worker{
		doer: s.cfg.Doer, ledger: s.cfg.Ledger, notes: s.cfg.Notes, story: &story{node: s.cfg.NodeStatus}, check: s.cfg.Check, poke: s.wake, outcome: s.cfg.Outcome, resized: s.cfg.Resized,
		log:   s.cfg.Log.With("pod", d.Pod.Namespace+"/"+d.Pod.Name, "uid", uid),
		inbox: newInbox(d, observed, plan.Facts{}),
		show:  func(e *Entry) { s.table.show(uid, e) },
	}
	if rec, ok := s.cfg.Remembered[uid]; ok {
		w.saved = encode(rec)
		w.memory.Kept = rec.Kept.Rebase(now)
	} else if d.Source == pod.FromAPI {
		w.memory.Kept.Containers = told(&d.Pod.Status)
	}
	w.sizes = w.memory.Kept
	s.order++
	r := &running{worker: w, uid: uid, order: s.order}
	if a := w.memory.Kept.Allocated; a != nil && d.Source == pod.FromRuntime {
		r.remains = remains(d, a)
	}
	if d.Pod.Name != "" {
		r.full = pod.FullNameOf(d.Pod)
	}
	s.workers[uid] = r
	w.inbox.mark(w.memory)
	w.inbox.size(w.memory.Kept, w.size(d), 0)
	return r
}

// told is what the status in the API says of containers, for a pod of which nothing is remembered: another agent had this node
// before, or the ledger is lost. Containers that go on are believed to be as ready as they were (behaviour 354).
func told(s *v1.PodStatus) map[string]plan.ContainerMemory {
	said := map[string]plan.ContainerMemory{}
	for _, c := range slices.Concat(s.InitContainerStatuses, s.ContainerStatuses) {
		if _, id, ok := strings.Cut(c.ContainerID, "://"); ok && c.State.Running != nil {
			said[c.Name] = plan.ContainerMemory{Proven: plan.Proven{ID: id, Started: c.Started != nil && *c.Started, Ready: c.Ready}}
		}
	}
	return said
}
