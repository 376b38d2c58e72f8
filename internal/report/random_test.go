package report

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/simworld/podapi"
)

// history is one random life of a node and its API server.
type history struct {
	chance
	t     *testing.T
	s     *server
	table *table
	made  int
	stop  func()
	ended map[types.UID]bool
}

// TestRandomHistories plays lives with a slow, failing, absent API server, a late watch and restarts of the agent. The
// fake complains of what must never happen (a second call for a pod, a delete before the end was told, a phase that goes back);
// here it is checked that in the end all is told, all that was to go is gone, and nobody calls any more.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &history{chance: chance{rand.New(rand.NewPCG(seed, 2))}, t: t, s: newServer(t), table: newTable(), ended: map[types.UID]bool{}}
				h.s.Latency = func() time.Duration { return time.Duration(h.s.Version%7) * 40 * time.Millisecond }
				h.s.Lag = func() time.Duration { return time.Duration(h.s.Version%11) * 300 * time.Millisecond }
				_, h.stop = start(t, h.s, h.table)
				for range 300 {
					h.step()
					time.Sleep(time.Duration(h.IntN(400)) * time.Millisecond)
				}
				h.s.Locked(func() { h.s.Fail = nil })
				time.Sleep(3 * time.Minute)
				h.check()
				quiet := h.s.Since()
				time.Sleep(time.Hour)
				if n := h.s.Count("", quiet); n > 0 {
					t.Errorf("%d calls after everything was told", n)
				}
				h.stop()
			})
		})
	}
}

func (h *history) step() {
	uid := types.UID(fmt.Sprint("u", h.IntN(h.made+1)))
	switch h.IntN(14) {
	case 0, 1: // a pod is bound
		p := bound(fmt.Sprint("p", h.made%4), types.UID(fmt.Sprint("u", h.made)))
		h.made++
		for _, other := range h.table.cell.Value() { // the name is free, or made so by force
			if other.Name == p.Name {
				h.s.Drop(other.UID)
			}
		}
		h.s.Put(p)
		h.table.put(of(p, says(v1.PodPending, false, "")))
	case 2, 3, 4, 5, 6: // a worker says something
		h.says(uid)
	case 7:
		h.s.Edit(uid, deleted)
	case 8: // somebody else writes
		h.s.Edit(uid, func(p *v1.Pod) {
			p.Status.NominatedNodeName = fmt.Sprint(h.IntN(5))
			p.Status.Conditions = append(p.Status.Conditions[:0:0], p.Status.Conditions...)
			if find(p.Status.Conditions, "gate") == nil {
				p.Status.Conditions = append(p.Status.Conditions, cond("gate", v1.ConditionTrue, metav1.Now()))
			}
			if h.IntN(10) == 0 {
				p.Status.Phase = v1.PodFailed
			}
		})
	case 9:
		h.s.Drop(uid)
	case 10:
		h.weather()
	case 12: // a static pod says something
		hash := types.UID(fmt.Sprint("static", h.IntN(3)))
		h.table.put(Pod{UID: hash, Namespace: "default", Name: string(hash), Static: true, Rested: h.IntN(2) == 0,
			Status: says(pick(h.chance, v1.PodPending, v1.PodRunning), h.IntN(2) == 0, "")})
	case 13: // its mirror is made, made anew, deleted, or replaced by one of another version
		name := fmt.Sprint("static", h.IntN(3))
		m := mirrorOf(bound(name, types.UID(fmt.Sprint("mirror", h.made))), types.UID(pick(h.chance, name, name, "another")))
		h.made++
		h.s.Locked(func() {
			for uid, p := range h.s.Pods {
				if p.Name == name {
					h.s.Change(uid, nil)
				}
			}
			switch h.IntN(3) {
			case 0:
				deleted(m)
				fallthrough
			case 1:
				h.s.Change(m.UID, m)
			}
		})
	case 11:
		if h.IntN(3) == 0 {
			h.stop()
			h.s.Relist()
			_, h.stop = start(h.t, h.s, h.table)
		}
	}
}

func (h *history) says(uid types.UID) {
	h.table.mu.Lock()
	p, ok := h.table.pods[uid]
	h.table.mu.Unlock()
	if !ok {
		return
	}
	api := h.s.Pod(uid)
	switch {
	case h.ended[uid]:
		p.Rested = h.IntN(2) == 0 || p.Rested
	case api == nil || api.DeletionTimestamp != nil && h.IntN(2) == 0:
		h.ended[uid] = true
		p.Status = says(pick(h.chance, v1.PodSucceeded, v1.PodFailed), false, "")
	default:
		p.Status = says(pick(h.chance, v1.PodPending, v1.PodRunning, v1.PodRunning), h.IntN(2) == 0, fmt.Sprint(h.IntN(3)))
	}
	h.table.put(p)
}

// weather changes how the server answers.
func (h *history) weather() {
	errs := []error{podapi.ErrDown, podapi.ErrLost, apierrors.NewInternalError(errors.New("etcd")), apierrors.NewTooManyRequests("later", 1),
		apierrors.NewConflict(podapi.Resource, "x", errors.New("busy")), apierrors.NewForbidden(podapi.Resource, "x", errors.New("no"))}
	share, r := h.IntN(3)*h.IntN(51), rand.New(rand.NewPCG(h.Uint64(), 3))
	h.s.Locked(func() {
		h.s.Fail = func(string, string) error {
			if r.IntN(100) < share {
				return errs[r.IntN(len(errs))]
			}
			return nil
		}
	})
}

func (h *history) check() {
	told(h.t, h.s, h.table)
	h.s.Mu.Lock()
	defer h.s.Mu.Unlock()
	for _, p := range h.table.cell.Value() {
		if api := h.s.Pods[p.UID]; p.Rested && api != nil && api.DeletionTimestamp != nil {
			h.t.Errorf("pod %s was to go", p.UID)
		}
	}
}
