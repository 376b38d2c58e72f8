package mirror

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/simworld/podapi"
)

// history is one random life of static pods and their mirrors.
type history struct {
	*rand.Rand
	t    *testing.T
	w    *world
	made int
	stop func()
	// wanted and ending are the static pods, by name and by UID; given is each static pod there ever was, as it was made.
	wanted map[string]*pod.Desired
	ending map[types.UID]*pod.Desired
	given  map[*pod.Desired]*v1.Pod
}

var nameList = []string{"a", "b", "c", "d"}

// TestRandomHistories edits, deletes and adds static pods, deletes their mirrors, takes their names, makes the Node object
// anew, with a slow, failing, absent API server, answers that get lost, a late watch and restarts of the agent. The fake
// complains of two calls for one name and of deletes of what is no mirror. In the end there is exactly one right mirror for
// each static pod and no other, nobody calls any more, and no static pod was touched.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &history{Rand: rand.New(rand.NewPCG(seed, 4)), t: t, w: newWorld(t),
					wanted: map[string]*pod.Desired{}, ending: map[types.UID]*pod.Desired{}, given: map[*pod.Desired]*v1.Pod{}}
				h.w.Latency = func() time.Duration { return time.Duration(h.w.Version%7) * 40 * time.Millisecond }
				h.w.Lag = func() time.Duration { return time.Duration(h.w.Version%11) * 400 * time.Millisecond }
				h.stop = h.w.start()
				for range 200 {
					h.step()
					h.publish(true)
					time.Sleep(time.Duration(h.IntN(500)) * time.Millisecond)
				}
				h.heal()
				time.Sleep(3 * time.Minute)
				h.w.check()
				quiet := h.w.Since()
				time.Sleep(time.Hour)
				if n := h.w.Count("", quiet); n > 0 {
					t.Errorf("%d calls after all was as it should be", n)
				}
				h.stop()
				for d, before := range h.given {
					if diff := cmp.Diff(before, d.Pod); diff != "" {
						t.Errorf("static pod was changed: -before +after\n%s", diff)
					}
				}
			})
		})
	}
}

func (h *history) step() {
	name := nameList[h.IntN(len(nameList))]
	switch h.IntN(14) {
	case 0, 1, 2: // written, or edited
		h.end(name)
		d := static(name, types.UID(fmt.Sprint(name, h.made)))
		h.made++
		h.wanted[name], h.given[d] = d, d.Pod.DeepCopy()
	case 3, 4: // removed
		h.end(name)
	case 5: // the same file is put back
		for uid, d := range h.ending {
			if d.Pod.Name == name && h.wanted[name] == nil {
				h.wanted[name] = d
				if h.IntN(2) == 0 {
					delete(h.ending, uid)
				}
			}
		}
	case 6, 7: // something has ended
		for uid := range h.ending {
			delete(h.ending, uid)
			break
		}
	case 8:
		h.w.edit(name, deleting)
	case 9:
		h.w.edit(name, func(*v1.Pod) *v1.Pod { return nil })
	case 10:
		h.w.Locked(func() {
			if h.w.named(name) == nil && h.IntN(3) == 0 {
				uid := types.UID(fmt.Sprint("foreign", h.w.Version))
				h.w.Change(uid, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name, UID: uid}})
			}
		})
	case 11:
		h.weather()
	case 12:
		switch h.IntN(3) {
		case 0:
			h.w.nodes.Set(nil)
			h.w.nodes.Set(node(types.UID(fmt.Sprint("n", h.IntN(1000)))))
		case 1:
			h.w.edit(name, func(p *v1.Pod) *v1.Pod { p.Finalizers = []string{"x"}; return p })
		}
	case 13:
		if h.IntN(2) == 0 {
			h.stop()
			h.publish(false)
			h.w.Relist()
			h.stop = h.w.start()
			time.Sleep(time.Duration(h.IntN(1000)) * time.Millisecond)
		}
	}
}

// end begins the end of a static pod.
func (h *history) end(name string) {
	if d := h.wanted[name]; d != nil {
		delete(h.wanted, name)
		h.ending[d.UID()] = d
	}
}

func (h *history) publish(ready bool) {
	s := Static{Ready: ready}
	for _, d := range h.wanted {
		if ready || h.IntN(2) == 0 {
			s.Wanted = append(s.Wanted, d)
		}
	}
	for _, d := range h.ending {
		s.Ending = append(s.Ending, d)
	}
	h.w.static.Set(s)
}

// weather changes how the server answers.
func (h *history) weather() {
	errs := []error{podapi.ErrDown, podapi.ErrLost, podapi.ErrLost, apierrors.NewInternalError(errors.New("etcd")), apierrors.NewTooManyRequests("later", 1),
		apierrors.NewForbidden(podapi.Resource, "x", errors.New("no")), apierrors.NewConflict(podapi.Resource, "x", errors.New("busy"))}
	share, r := h.IntN(3)*h.IntN(51), rand.New(rand.NewPCG(h.Uint64(), 5))
	h.w.Locked(func() {
		h.w.Fail = func(string, string) error {
			if r.IntN(100) < share {
				return errs[r.IntN(len(errs))]
			}
			return nil
		}
	})
}

// heal ends all that others do.
func (h *history) heal() {
	clear(h.ending)
	h.publish(true)
	h.w.Locked(func() {
		h.w.Fail = nil
		for uid, p := range maps.Clone(h.w.Pods) {
			switch {
			case hash(p) == "" || goesByItself(p):
				h.w.Change(uid, nil)
			case slices.Contains(p.Finalizers, "x"):
				p = p.DeepCopy()
				p.Finalizers = nil
				h.w.Change(uid, p)
			}
		}
	})
}
