package heartbeat

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/bosun-project/bosun/internal/nodestatus"
)

// TestRegister holds behaviours 285 to 287: one request makes the node, ready if it is.
func TestRegister(t *testing.T) {
	run(t, nil, func(w *world) {
		n := w.object()
		if w.ready() != v1.ConditionTrue || n.Labels["node.kubernetes.io/role"] != "db" || len(n.Spec.Taints) != 1 {
			t.Errorf("%+v", n)
		}
		if diff := cmp.Diff(map[string]int{"create node": 1, "get lease": 1, "create lease": 1}, w.requests()); diff != "" {
			t.Error(diff)
		}
		if got, want := w.told(), "Starting NodeHasSufficientMemory NodeHasNoDiskPressure NodeHasSufficientPID NodeReady"; got != want {
			t.Errorf("notes %s, want %s", got, want)
		}
		s := w.loop.State().Value()
		if !s.Registered || s.UID != n.UID || s.LastStatus.IsZero() || s.LastLease.IsZero() || s.Node != (Trouble{}) || s.Lease != (Trouble{}) {
			t.Errorf("state %+v", s)
		}
	})
}

func TestNothingIsDoneWithoutFacts(t *testing.T) {
	run(t, func(w *world, _ *Config) { w.facts.Set(nodestatus.Facts{}) }, func(w *world) {
		w.after(time.Minute)
		if got := w.requests(); len(got) > 0 {
			t.Errorf("requests %v", got)
		}
		w.facts.Set(facts())
		synctest.Wait()
		if w.ready() != v1.ConditionTrue {
			t.Error("not registered")
		}
	})
}

// TestAdopt holds behaviour 285 for a node that is there: labels of its own are put right, taints and others' are not.
func TestAdopt(t *testing.T) {
	for name, known := range map[string]bool{"as the watch shows it": true, "before the watch shows anything": false} {
		t.Run(name, func(t *testing.T) {
			run(t, func(w *world, _ *Config) {
				n := &v1.Node{}
				n.Name = "node-1"
				n.Labels = map[string]string{"mine": "stays", v1.LabelHostname: "wrong"}
				n.Spec.ProviderID = "other://1"
				w.deaf = !known
				w.put(n)
				if !known {
					w.watched.Set(view{})
				}
			}, func(w *world) {
				n := w.object()
				want := map[string]string{"mine": "stays", v1.LabelHostname: "node-1", v1.LabelOSStable: "linux", v1.LabelArchStable: "amd64", "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64"}
				if diff := cmp.Diff(want, n.Labels); diff != "" {
					t.Error(diff)
				}
				if len(n.Spec.Taints) != 0 || n.Spec.ProviderID != "other://1" || w.ready() != v1.ConditionTrue {
					t.Errorf("%+v", n)
				}
			})
		})
	}
}

// TestAgentStartsAnew: an agent that restarts does not make its node unready before it knows how the runtime fares.
func TestAgentStartsAnew(t *testing.T) {
	run(t, func(w *world, _ *Config) {
		n := nodestatus.Object(facts(), time.Now())
		w.put(n)
		w.tell(func(f *nodestatus.Facts) { f.Runtime = nodestatus.Runtime{} })
	}, func(w *world) {
		if w.ready() != v1.ConditionTrue || w.told() != "Starting" {
			t.Errorf("ready %s", w.ready())
		}
		w.tell(func(f *nodestatus.Facts) {
			f.Runtime = nodestatus.Runtime{Asked: true, Message: "container runtime is down"}
		})
		synctest.Wait()
		w.after(time.Second)
		if w.ready() != v1.ConditionFalse || w.told() != "NodeNotReady" {
			t.Errorf("ready %s with a runtime that is down", w.ready())
		}
	})
}

func TestNotRegistering(t *testing.T) { // registerNode: false
	run(t, func(_ *world, c *Config) { c.Register = false }, func(w *world) {
		w.after(10 * time.Minute)
		if got := w.requests(); len(got) > 0 {
			t.Errorf("requests %v with nothing to do", got)
		}
		if s := w.loop.State().Value(); s.Registered || !strings.Contains(s.Node.Err, "registerNode is false") || w.logged("registerNode is false") != 1 {
			t.Errorf("state %+v, logged %d times", s, w.logged("registerNode is false"))
		}
		n := &v1.Node{}
		n.Name = "node-1"
		w.put(n)
		synctest.Wait()
		if w.ready() != v1.ConditionTrue || len(w.object().Labels) != 0 || w.held() == nil {
			t.Errorf("a node that others made: %+v", w.object())
		}
		w.put(nil)
		w.after(10 * time.Minute)
		if w.object() != nil {
			t.Error("made again")
		}
	})
}

// TestRegistrationRace: the node appears between looking and creating.
func TestRegistrationRace(t *testing.T) {
	run(t, func(w *world, _ *Config) {
		n := &v1.Node{}
		n.Name = "node-1"
		w.deaf = true // the watch still says that there is none
		w.put(n)
	}, func(w *world) {
		if w.ready() != v1.ConditionTrue || w.object().Labels[v1.LabelHostname] != "node-1" {
			t.Errorf("%+v", w.object())
		}
		if got := w.requests()["create node"]; got != 1 {
			t.Errorf("created %d times", got)
		}
		w.set(func(s *server) { s.deaf = false })
	})
}

// TestDownAtStart: the API server is away for five minutes. One line in the log, a bounded number of tries, and the node
// is there at once when it is back.
func TestDownAtStart(t *testing.T) {
	for name, hint := range map[string]bool{"told of the return": true, "not told": false} {
		t.Run(name, func(t *testing.T) {
			run(t, func(w *world, _ *Config) {
				w.fail = func(string) error { return errDown }
				w.watched.Set(view{})
			}, func(w *world) {
				w.after(5 * time.Minute)
				if got := w.requests()["get node"]; got < 40 || got > 65 {
					t.Errorf("%d tries in five minutes", got)
				}
				if got := w.logged("level=WARN"); got != 1 {
					t.Errorf("%d warnings", got)
				}
				s := w.loop.State().Value()
				if s.Registered || !strings.Contains(s.Node.Err, "connection refused") || time.Since(s.Node.Since) != 5*time.Minute {
					t.Errorf("state %+v", s)
				}
				w.set(func(s *server) { s.fail = nil })
				if hint {
					w.back.Set(struct{}{})
					synctest.Wait()
				} else {
					w.after(7 * time.Second)
				}
				if w.ready() != v1.ConditionTrue || w.held() == nil {
					t.Error("not registered though the API server is back")
				}
				if s := w.loop.State().Value(); !s.Registered || s.Node != (Trouble{}) {
					t.Errorf("state %+v", s)
				}
			})
		})
	}
}

// TestReady: the node is ready in the API within a second of its network, even with an API server that takes its time.
func TestReady(t *testing.T) {
	for name, slow := range map[string]time.Duration{"quick": 0, "slow": 400 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			run(t, func(w *world, _ *Config) {
				w.slow = slow
				w.tell(func(f *nodestatus.Facts) { f.Runtime.NetworkReady = false })
			}, func(w *world) {
				w.after(30 * time.Second)
				if w.ready() != v1.ConditionFalse {
					t.Fatal(w.ready())
				}
				w.tell(func(f *nodestatus.Facts) { f.Runtime.NetworkReady = true })
				synctest.Wait()
				w.after(slow)
				if w.ready() != v1.ConditionTrue {
					t.Error("not ready yet")
				}
			})
		})
	}
}

// TestStorm: many changes in a short time make few patches, and the last one counts.
func TestStorm(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*nodestatus.Facts, int)
		most   int
		// urgent is how long a condition may take to be told after the storm.
		urgent time.Duration
	}{
		"volumes": {func(f *nodestatus.Facts, i int) {
			f.VolumesInUse = []v1.UniqueVolumeName{v1.UniqueVolumeName(rune('a' + i%26))}
		}, 6, 0},
		"ready": {func(f *nodestatus.Facts, i int) { f.Runtime.NetworkReady = i%2 == 1 }, 10, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, func(w *world) {
				w.after(30 * time.Second)
				w.requests()
				for i := range 100 {
					w.tell(func(f *nodestatus.Facts) { c.change(f, i) })
					w.after(10 * time.Millisecond)
				}
				if got := w.requests()["patch status"]; got == 0 || got > c.most {
					t.Errorf("%d patches in a second", got)
				}
				w.tell(func(f *nodestatus.Facts) {
					f.VolumesInUse, f.DiskPressure = []v1.UniqueVolumeName{"last"}, true
				})
				synctest.Wait()
				w.after(c.urgent)
				if n := w.object(); len(n.Status.VolumesInUse) != 1 || n.Status.VolumesInUse[0] != "last" {
					t.Errorf("%+v", n.Status)
				}
				w.after(30 * time.Second)
				w.requests()
				w.tell(func(f *nodestatus.Facts) { f.VolumesInUse = nil })
				synctest.Wait()
				if got := w.requests()["patch status"]; got != 1 {
					t.Errorf("%d patches at once after a quiet time", got)
				}
			})
		})
	}
}

// TestImagesWait: images are told in rounds, not one by one.
func TestImagesWait(t *testing.T) {
	run(t, nil, func(w *world) {
		w.after(30 * time.Second)
		w.requests()
		for i := range 100 {
			w.tell(func(f *nodestatus.Facts) { f.Images = []nodestatus.Image{{Names: []string{"a"}, Size: int64(i)}} })
			w.after(200 * time.Millisecond)
		}
		w.after(11 * time.Second)
		if got := w.requests()["patch status"]; got < 2 || got > 4 {
			t.Errorf("%d patches in half a minute", got)
		}
		if got := w.object().Status.Images; len(got) != 1 || got[0].SizeBytes != 99 {
			t.Errorf("images %v", got)
		}
	})
}

// TestIdle holds behaviours 289 and 290: what a node costs the API server while nothing happens.
func TestIdle(t *testing.T) {
	run(t, nil, func(w *world) {
		w.after(10 * time.Minute) // the first report is spread out
		w.requests()
		w.after(time.Minute)
		if got := w.requests(); got["update lease"] < 5 || got["update lease"] > 6 || len(got) > 2 || got["patch status"] > 1 {
			t.Errorf("requests in a minute: %v", got)
		}
		w.after(time.Hour)
		got := w.requests()
		if got["patch status"] < 11 || got["patch status"] > 12 || got["update lease"] < 345 || got["update lease"] > 360 || len(got) != 2 {
			t.Errorf("requests in an hour: %v", got)
		}
		for _, p := range w.patches {
			if strings.Contains(p, "nodeInfo") || strings.Contains(p, "capacity") {
				t.Errorf("nothing changed: %s", p)
			}
		}
	})
}

// TestOthersChange: what others do to the object is noticed, and only what is the node's own is put back.
func TestOthersChange(t *testing.T) {
	run(t, nil, func(w *world) {
		w.after(time.Minute)
		w.told()
		w.edit(func(n *v1.Node) { // the node controller has given it up
			for i := range n.Status.Conditions {
				n.Status.Conditions[i].Status = v1.ConditionUnknown
			}
			n.Status.Conditions = append(n.Status.Conditions, v1.NodeCondition{Type: v1.NodeNetworkUnavailable, Status: v1.ConditionFalse})
			n.Status.VolumesAttached = []v1.AttachedVolume{{Name: "v"}}
			n.Labels["mine"] = "stays"
		})
		synctest.Wait()
		n := w.object()
		if w.ready() != v1.ConditionTrue || len(n.Status.Conditions) != 5 || len(n.Status.VolumesAttached) != 1 || n.Labels["mine"] != "stays" {
			t.Errorf("%+v", n)
		}
		if got := w.told(); !strings.HasSuffix(got, "NodeReady") {
			t.Errorf("notes %s", got)
		}
		w.requests()
		w.edit(func(n *v1.Node) { n.Spec.Unschedulable = true }) // 300
		synctest.Wait()
		w.edit(func(n *v1.Node) { n.Spec.Unschedulable = false })
		synctest.Wait()
		if got := w.told(); got != "NodeNotSchedulable NodeSchedulable" || len(w.requests()) != 0 {
			t.Errorf("notes %s", got)
		}
	})
}

// TestServerIgnoresAField: what the API server does not store is not sent forever.
func TestServerIgnoresAField(t *testing.T) {
	run(t, func(w *world, _ *Config) {
		w.admit = func(n *v1.Node) { n.Status.DeclaredFeatures = nil }
		w.tell(func(f *nodestatus.Facts) { f.DeclaredFeatures = []string{"New"} })
	}, func(w *world) {
		w.after(time.Hour)
		if got := w.requests()["patch status"]; got > 14 {
			t.Errorf("%d patches in an hour", got)
		}
		w.tell(func(f *nodestatus.Facts) { f.DiskPressure = true })
		synctest.Wait()
		if got := w.requests()["patch status"]; got != 1 {
			t.Errorf("%d patches for a change", got)
		}
	})
}

// TestOutage: reports fail for a while; the newest status is told when they work again, and the log has two lines.
func TestOutage(t *testing.T) {
	run(t, nil, func(w *world) {
		w.after(time.Minute)
		w.told()
		w.set(func(s *server) {
			s.fail = func(string) error { return apierrors.NewServiceUnavailable("no leader") }
		})
		w.tell(func(f *nodestatus.Facts) { f.Runtime.NetworkReady = false })
		w.after(time.Minute)
		if got := w.requests(); got["patch status"] > 16 || got["update lease"]+got["get lease"] > 25 {
			t.Errorf("requests %v", got)
		}
		if got := w.logged("level=WARN"); got != 2 { // the status, the lease
			t.Errorf("%d warnings", got)
		}
		if s := w.loop.State().Value(); !s.Registered || s.Node.Tries < 5 || s.Lease.Err == "" || s.Node.Since.Sub(s.LastStatus) < time.Minute-time.Second {
			t.Errorf("state %+v", s)
		}
		w.tell(func(f *nodestatus.Facts) { f.Runtime.NetworkReady, f.DiskPressure = true, true })
		w.set(func(s *server) { s.fail = nil })
		w.back.Set(struct{}{})
		synctest.Wait()
		if got := w.requests(); got["patch status"] != 1 || got["update lease"] != 1 {
			t.Errorf("requests %v on return", got)
		}
		if got := w.told(); got != "NodeHasDiskPressure" {
			t.Errorf("notes %s", got)
		}
		if s := w.loop.State().Value(); s.Node != (Trouble{}) || s.Lease != (Trouble{}) {
			t.Errorf("state %+v", s)
		}
	})
}

// TestRefused: a report that the API server does not accept is tried with pauses, and does no harm to the lease.
func TestRefused(t *testing.T) {
	run(t, nil, func(w *world) {
		w.after(time.Minute)
		w.set(func(s *server) {
			s.fail = func(verb string) error {
				if verb == "patch status" {
					return apierrors.NewInvalid(v1.SchemeGroupVersion.WithKind("Node").GroupKind(), "node-1", nil)
				}
				return nil
			}
		})
		w.requests()
		w.tell(func(f *nodestatus.Facts) { f.DiskPressure = true })
		w.after(time.Minute)
		got := w.requests()
		if got["patch status"] > 16 || got["get node"] > 16 || got["update lease"] < 5 || w.logged("level=WARN") != 1 {
			t.Errorf("requests %v", got)
		}
	})
}

// TestSlow: an API server that needs 2 s for a call.
func TestSlow(t *testing.T) {
	run(t, func(w *world, _ *Config) { w.slow = 2 * time.Second }, func(w *world) {
		w.after(10 * time.Second)
		if w.ready() != v1.ConditionTrue {
			t.Fatal("not ready")
		}
		w.requests()
		for range 60 {
			w.after(time.Second)
			if age := time.Since(w.held().Spec.RenewTime.Time); age > 15*time.Second {
				t.Fatalf("the lease is %s old", age)
			}
		}
		if got := w.requests()["update lease"]; got < 5 {
			t.Errorf("%d renewals in a minute", got)
		}
	})
}

// TestStop: the loop ends at once, also in the middle of a call.
func TestStop(t *testing.T) {
	for name, slow := range map[string]time.Duration{"idle": 0, "in a call": time.Hour} {
		t.Run(name, func(t *testing.T) {
			run(t, func(w *world, _ *Config) { w.slow = slow }, func(w *world) {
				w.after(time.Minute)
				began := time.Now()
				w.requests()
				w.stop()
				if time.Since(began) > 0 || len(w.requests()) > 0 {
					t.Error("it goes on")
				}
				if w.logged("level=WARN") > 0 {
					t.Error("an end is not a failure")
				}
			})
		})
	}
}

func TestReboot(t *testing.T) { // 294, 304
	run(t, func(w *world, _ *Config) {
		n := nodestatus.Object(facts(), time.Now())
		n.Status.NodeInfo.BootID = "b0"
		n.Status.Capacity["example.com/gpu"] = n.Status.Capacity[v1.ResourceCPU]
		w.put(n)
	}, func(w *world) {
		if got := w.told(); got != "Starting Rebooted" {
			t.Errorf("notes %s", got)
		}
		if got := w.object().Status.Capacity["example.com/gpu"]; !got.IsZero() {
			t.Errorf("%s GPUs though their plugin is not back", got.String())
		}
		w.after(time.Hour)
		if got := w.told(); got != "" {
			t.Errorf("notes %s", got)
		}
	})
}

func TestCgroupV1(t *testing.T) { // 301
	run(t, func(w *world, _ *Config) { w.tell(func(f *nodestatus.Facts) { f.CgroupVersion = 1 }) }, func(w *world) {
		w.after(time.Hour)
		if got := w.told(); strings.Count(got, "CgroupV1") != 1 {
			t.Errorf("notes %s", got)
		}
	})
}

// TestOddVersions: an API server whose resource versions are no numbers is believed.
func TestOddVersions(t *testing.T) {
	a, b := &v1.Node{}, &v1.Node{}
	a.ResourceVersion, b.ResourceVersion = "x", "y"
	if !newer(a, b) || newer(a, a) {
		t.Error("versions that are no numbers")
	}
	a.ResourceVersion, b.ResourceVersion = "9", "10"
	if newer(a, b) || !newer(b, a) {
		t.Error("numbers")
	}
}
