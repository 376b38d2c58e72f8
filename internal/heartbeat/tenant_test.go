package heartbeat

import (
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestLease(t *testing.T) { // 289
	run(t, nil, func(w *world) {
		l := w.held()
		if l.Namespace != "kube-node-lease" || l.Name != "node-1" || *l.Spec.HolderIdentity != "node-1" || *l.Spec.LeaseDurationSeconds != 40 || !l.Spec.RenewTime.Equal(ptr.To(metav1.NewMicroTime(time.Now()))) {
			t.Errorf("%+v", l)
		}
		if o := l.OwnerReferences; len(o) != 1 || o[0].Kind != "Node" || o[0].APIVersion != "v1" || o[0].Name != "node-1" || o[0].UID != w.object().UID {
			t.Errorf("owner %+v", o)
		}
	})
}

func TestLeaseDuration(t *testing.T) {
	run(t, func(_ *world, c *Config) { c.LeaseDuration = 20 * time.Second }, func(w *world) {
		w.requests()
		w.after(time.Minute)
		if got := w.requests()["update lease"]; got < 11 || got > 12 || *w.held().Spec.LeaseDurationSeconds != 20 {
			t.Errorf("%d renewals in a minute, %+v", got, w.held().Spec)
		}
	})
}

// TestLeaseAdopted: the lease of an earlier life is renewed, whoever holds it now, and its time never goes back.
func TestLeaseAdopted(t *testing.T) {
	for name, c := range map[string]struct {
		holder string
		ahead  time.Duration
	}{
		"ours":                   {"node-1", -time.Hour},
		"somebody else's":        {"other", -time.Second},
		"the clock was set back": {"node-1", time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var before time.Time
			run(t, func(w *world, _ *Config) {
				before = time.Now().Add(c.ahead)
				w.lease = &coordinationv1.Lease{}
				w.lease.Name, w.lease.ResourceVersion = "node-1", "1"
				w.lease.Spec.HolderIdentity = ptr.To(c.holder)
				w.lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(before))
				w.version = 1
			}, func(w *world) {
				for range 5 {
					l := w.held()
					if *l.Spec.HolderIdentity != "node-1" || !l.Spec.RenewTime.After(before) {
						t.Fatalf("held by %s since %s, before %s", *l.Spec.HolderIdentity, l.Spec.RenewTime, before)
					}
					before = l.Spec.RenewTime.Time
					w.after(11 * time.Second)
				}
				if got := w.requests(); got["get lease"] != 1 || got["create lease"] != 0 {
					t.Errorf("requests %v", got)
				}
			})
		})
	}
}

// TestLeaseLost: deleted or changed by others, it is written again with the next renewal.
func TestLeaseLost(t *testing.T) {
	for name, lose := range map[string]func(*server){
		"deleted": func(s *server) { s.lease = nil },
		"changed": func(s *server) {
			s.lease = s.lease.DeepCopy()
			s.lease.ResourceVersion = s.tick()
			s.lease.Spec.HolderIdentity = ptr.To("other")
		},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(w *world) {
				w.after(time.Minute)
				w.set(lose)
				w.after(11 * time.Second)
				if l := w.held(); l == nil || *l.Spec.HolderIdentity != "node-1" || time.Since(l.Spec.RenewTime.Time) > 11*time.Second {
					t.Errorf("%+v", l)
				}
				if w.logged("level=WARN") != 0 || w.loop.State().Value().Lease != (Trouble{}) {
					t.Error("that is no trouble")
				}
			})
		})
	}
}

// TestLeaseDoesNotWait: a status that hangs does not hold up the lease.
func TestLeaseDoesNotWait(t *testing.T) {
	run(t, nil, func(w *world) {
		w.after(time.Minute)
		never := make(chan struct{})
		w.set(func(s *server) {
			s.fail = func(verb string) error {
				if verb == "patch status" {
					<-never
				}
				return nil
			}
		})
		w.after(30 * time.Minute)
		if age := time.Since(w.held().Spec.RenewTime.Time); age > 11*time.Second {
			t.Errorf("the lease is %s old", age)
		}
		close(never)
		synctest.Wait()
	})
}

// TestLeaseOutage: as soon as the API server takes it again, the lease is renewed: at most 7 s later.
func TestLeaseOutage(t *testing.T) {
	run(t, nil, func(w *world) {
		w.after(time.Minute)
		w.set(func(s *server) { s.fail = func(string) error { return errDown } })
		w.after(10 * time.Minute)
		w.set(func(s *server) { s.fail = nil })
		w.after(7 * time.Second)
		if age := time.Since(w.held().Spec.RenewTime.Time); age > 7*time.Second {
			t.Errorf("the lease is %s old", age)
		}
	})
}
