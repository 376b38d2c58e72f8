package heartbeat

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/nodestatus"
)

// TestDeleted: the node is made again with labels and taints anew, and a note (unlike behaviour 303).
func TestDeleted(t *testing.T) {
	for name, prepare := range map[string]func(*world){
		"the watch tells":      func(*world) {},
		"the watch tells late": func(w *world) { w.lag = time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, func(w *world, _ *Config) { prepare(w) }, func(w *world) {
				w.after(2 * time.Minute)
				old := w.object().UID
				w.edit(func(n *v1.Node) { n.Labels["mine"] = "goes"; n.Spec.Taints = nil })
				w.told()
				w.requests()
				w.put(nil)
				w.after(2 * time.Second)
				n := w.object()
				if n == nil || n.UID == old || n.Labels["node.kubernetes.io/role"] != "db" || n.Labels["mine"] != "" || len(n.Spec.Taints) != 1 || w.ready() != v1.ConditionTrue {
					t.Fatalf("%+v", n)
				}
				if got := w.told(); got != "NodeRegisteredAgain" {
					t.Errorf("notes %s", got)
				}
				if got := w.requests(); got["create node"] != 1 || got["get node"] != 1 {
					t.Errorf("requests %v", got)
				}
				if got := w.held().OwnerReferences; len(got) != 1 || got[0].UID != n.UID {
					t.Errorf("the lease belongs to %v", got)
				}
				w.after(10 * time.Minute)
				if w.object().UID != n.UID || w.logged("was deleted") != 1 {
					t.Error("it does not rest")
				}
			})
		})
	}
}

// TestDeletedUnseen: the watch misses it, or shows the deleted object still when the new one is there; the next report
// finds out.
func TestDeletedUnseen(t *testing.T) {
	for name, late := range map[string]func(*server){
		"missed": func(s *server) { s.deaf = true },
		"late":   func(s *server) { s.lag = 5 * time.Second },
		"late, with versions that are no numbers": func(s *server) { s.lag, s.odd = 5*time.Second, true },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(w *world) {
				w.after(time.Minute)
				w.set(late)
				w.edit(func(n *v1.Node) { n.Labels["mine"] = "goes" })
				w.put(nil)
				w.tell(func(f *nodestatus.Facts) { f.DiskPressure = true })
				w.after(time.Second)
				n := w.object()
				if n == nil || w.loop.State().Value().UID != n.UID {
					t.Fatalf("%+v", n)
				}
				if w.logged("level=WARN") != 2 { // the report that failed, the deletion
					t.Errorf("%v", w.lines)
				}
				w.after(time.Minute)
				if w.object().UID != n.UID || w.loop.State().Value().UID != n.UID || w.logged("replaced") != 0 {
					t.Errorf("%v", w.lines)
				}
			})
		})
	}
}

// TestDeletedBeforeSeen: made, and deleted before the watch has shown it.
func TestDeletedBeforeSeen(t *testing.T) {
	run(t, func(w *world, _ *Config) { w.deaf = true }, func(w *world) {
		w.put(nil)
		w.after(30 * time.Second)
		if w.object() == nil {
			t.Error("not made again")
		}
	})
}

// TestDeletedAgainAndAgain is no race between who deletes and who makes.
func TestDeletedAgainAndAgain(t *testing.T) {
	run(t, nil, func(w *world) {
		for range 600 {
			if w.object() != nil {
				w.put(nil)
			}
			w.after(100 * time.Millisecond)
		}
		if got := w.requests()["create node"]; got > 20 {
			t.Errorf("made %d times in a minute", got)
		}
		w.after(10 * time.Second)
		if w.ready() != v1.ConditionTrue {
			t.Error("not there in the end")
		}
	})
}

// TestReplaced: another object of the name is adopted, be it noticed by the watch or by a report that is refused.
func TestReplaced(t *testing.T) {
	for name, deaf := range map[string]bool{"the watch shows it": false, "a refusal shows it": true} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(w *world) {
				w.after(2 * time.Minute)
				w.set(func(s *server) { s.deaf = deaf })
				n := &v1.Node{}
				n.Name = "node-1"
				w.put(n)
				w.tell(func(f *nodestatus.Facts) { f.DiskPressure = true })
				w.after(2 * time.Second)
				got := w.object()
				if w.ready() != v1.ConditionTrue || got.Labels[v1.LabelHostname] != "node-1" || w.loop.State().Value().UID != got.UID {
					t.Errorf("%+v", got)
				}
				if owner := w.held().OwnerReferences[0].UID; owner != got.UID {
					t.Errorf("the lease belongs to %s", owner)
				}
			})
		})
	}
}

// The API server's store is put back to what it was: the object is an older version, or the one that this one replaced.
func TestRolledBack(t *testing.T) {
	for name, other := range map[string]bool{"an older version": false, "another object": true} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(w *world) {
				w.after(time.Minute)
				was := w.object().DeepCopy()
				w.tell(func(f *nodestatus.Facts) { f.DiskPressure = true })
				w.after(time.Minute)
				w.set(func(s *server) {
					if was.ResourceVersion = "1"; other {
						was.UID = "before"
					}
					s.node = was
					s.show()
				})
				w.after(30 * time.Second)
				got := w.object()
				for _, c := range got.Status.Conditions {
					if c.Type == v1.NodeDiskPressure && c.Status != v1.ConditionTrue {
						t.Errorf("what is told of the disk: %+v", c)
					}
				}
				if uid := w.loop.State().Value().UID; uid != got.UID {
					t.Errorf("the node is taken for %s, it is %s", uid, got.UID)
				}
			})
		})
	}
}
