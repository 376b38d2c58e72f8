package pressure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/evict"
)

func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hard memory.available=100Mi", "reclaim memory.available=50Mi")
		n.has(evict.MemoryAvailable, 500)
		n.pod("critical", 0, 900, evict.MemoryAvailable, static)
		n.pod("small", 0, 40, evict.MemoryAvailable)
		n.pod("large", 0, 50, evict.MemoryAvailable)
		n.pod("high", 5, 300, evict.MemoryAvailable)
		n.run()
		n.pressed()
		pass(time.Hour)
		if looks, measured := n.seen(); looks != 361 || len(measured) > 0 {
			t.Errorf("in an hour with nothing short it looked %d times and measured %v", looks, measured)
		}
		n.has(evict.MemoryAvailable, 70)
		pass(10 * time.Second)
		n.pressed(v1.NodeMemoryPressure)
		n.expect("orders", n.list(&n.ordered), "+1h0m10s large in 1s: The node was low on resource: memory. Threshold quantity: 100Mi, available: 70Mi. Container app was using 50Mi, request is 0, has larger consumption of memory. ")
		pass(time.Second) // it has gone, and there are 120Mi: not yet what evictionMinimumReclaim wants
		n.expect("256 252 goes next", n.list(&n.ordered)[strings.LastIndex(n.list(&n.ordered), "+"):], "+1h0m11s small in 1s: The node was low on resource: memory. Threshold quantity: 100Mi, available: 120Mi. Container app was using 40Mi, request is 0, has larger consumption of memory. ")
		pass(4*time.Minute + 50*time.Second)
		n.expect("evictions", n.list(&n.evicted), "memory.available; memory.available")
		n.expect("248 held", fmt.Sprint(n.loop.Pressure().Value(), n.loop.State().Value().Short), "[MemoryPressure] []")
		pass(20 * time.Second)
		n.pressed()
		n.expect("249 events", n.list(&n.notes), "Warning Node EvictionThresholdMet: Attempting to reclaim memory; Warning Node EvictionThresholdMet: Attempting to reclaim memory")
		if len(n.loop.Orders().Value()) != 0 {
			t.Errorf("orders are left: %v", n.loop.Orders().Value())
		}
		if n.said("the node is running short") != 1 || n.said("the node is no longer short") != 1 {
			t.Error("what the log should say is not there, or not once")
		}
	})
}

func TestSoft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "soft memory.available=100Mi/25s")
		n.has(evict.MemoryAvailable, 50)
		n.pod("web", 0, 500, evict.MemoryAvailable)
		n.takes["web"] = 15 * time.Second
		n.run()
		n.pressed(v1.NodeMemoryPressure)
		pass(24 * time.Second)
		n.expect("orders", n.list(&n.ordered), "")
		pass(time.Second)
		if got := n.list(&n.ordered); !strings.HasPrefix(got, "+25s web in 20s: ") {
			t.Errorf("247: orders %s", got)
		}
		n.expect("it is waited for", fmt.Sprint(n.loop.State().Value().Waiting), "[web]")
		pass(15 * time.Second)
		n.expect("evictions", fmt.Sprint(n.list(&n.evicted), n.loop.State().Value().Waiting), "memory.available[]")
	})
}

func TestClearAwayFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hard nodefs.available=10%")
		n.has(evict.NodeFSAvailable, 60)
		n.spare[evict.NodeFSAvailable] = 45 * mi
		n.pod("web", 0, 500, evict.NodeFSAvailable)
		n.run()
		n.expect("250 cleared away", n.list(&n.cleared), "containers; images 40Mi")
		n.expect("250 orders", n.list(&n.ordered), "")
		n.pressed(v1.NodeDiskPressure)
		n.has(evict.NodeFSAvailable, 90)
		pass(10 * time.Second)
		n.expect("cleared away", n.list(&n.cleared), "containers; images 40Mi; containers; images 10Mi")
		if got := n.list(&n.ordered); !strings.HasPrefix(got, "+10s web in 1s: The node was low on resource: ephemeral-storage. Threshold quantity: 104857601, available: 90Mi. ") {
			t.Errorf("orders %s", got)
		}
		if n.said("not all unused images could be removed") != 2 {
			t.Error("what the log should say is not there, or not once")
		}
	})
}

// Images that share layers free less than they have, so that it may take more of them.
func TestClearAwayAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hard nodefs.available=10%")
		n.has(evict.NodeFSAvailable, 60)
		n.images = 2
		n.run()
		n.expect("250 cleared away", n.list(&n.cleared), "containers; images 40Mi; containers; images 40Mi; containers; images 40Mi")
	})
}

func TestDiskWithoutRuntime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hard nodefs.available=10%")
		n.layout, n.problem = evict.Unknown, errors.New("containerd does not answer")
		n.has(evict.NodeFSAvailable, 60)
		n.pod("web", 0, 500, evict.NodeFSAvailable)
		n.run()
		pass(time.Minute)
		n.expect("orders", n.list(&n.ordered)+n.list(&n.cleared), "")
		n.pressed(v1.NodeDiskPressure)
		n.expect("problem", n.loop.State().Value().Problem, "containerd does not answer")
		n.mu.Lock()
		n.layout, n.problem = evict.Dedicated, nil
		n.mu.Unlock()
		pass(10 * time.Second)
		n.expect("cleared away", n.list(&n.cleared), "") // images are elsewhere
		n.expect("evictions", n.list(&n.evicted)+n.loop.State().Value().Problem, "nodefs.available")
		if n.said("can be read") != 1 {
			t.Error("what the log should say is not there, or not once")
		}
	})
}

func TestPodsThatDoNotGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hard memory.available=100Mi")
		n.has(evict.MemoryAvailable, 50)
		n.pod("stuck", 0, 500, evict.MemoryAvailable)
		n.pod("other", 0, 100, evict.MemoryAvailable)
		n.takes["stuck"], n.takes["other"] = time.Hour, time.Hour
		n.run()
		pass(30 * time.Second)
		if got := n.list(&n.ordered); !strings.Contains(got, "+0s stuck") || !strings.Contains(got, "+30s other") {
			t.Errorf("252: orders %s", got)
		}
		pass(3 * time.Minute)
		n.expect("evictions, of each once", n.list(&n.evicted), "memory.available; memory.available")
		n.mu.Lock()
		n.cell.Set(n.pods[1:]) // it is gone from the table
		n.mu.Unlock()
		pass(time.Minute)
		if orders := n.loop.Orders().Value(); len(orders) != 1 || orders["other"] == nil {
			t.Errorf("orders are %v", orders)
		}
	})
}

func TestNobodyMayGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hard pid.available=10%", "hard nodefs.available=10%")
		n.has(evict.PIDAvailable, 1)
		n.has(evict.NodeFSAvailable, 1)
		n.pod("critical", 0, 900, evict.MemoryAvailable, static)
		n.run()
		n.pressed(v1.NodeDiskPressure, v1.NodePIDPressure)
		pass(time.Minute)
		n.expect("orders", n.list(&n.ordered), "")
		n.pod("web", 0, 2000, evict.NodeFSAvailable)
		pass(10 * time.Second)
		n.expect("evictions", n.list(&n.evicted), "nodefs.available")
	})
}

func TestTheKernelTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hard memory.available=100Mi")
		n.has(evict.MemoryAvailable, 500)
		n.pod("web", 0, 200, evict.MemoryAvailable)
		n.run()
		pass(2 * time.Second)
		n.has(evict.MemoryAvailable, 20)
		n.kernel <- struct{}{}
		synctest.Wait()
		n.expect("246 evictions", n.list(&n.evicted), "memory.available")
		pass(2 * time.Second)
		before, _ := n.seen()
		_, told := n.tried()
		for range 20 { // it goes on telling; there is nothing more to do
			n.kernel <- struct{}{}
			pass(100 * time.Millisecond)
		}
		after, _ := n.seen()
		if _, now := n.tried(); after-before > 25 || now != told {
			t.Errorf("it looked %d times, and told %d times more", after-before, now-told)
		}
	})
}

// A shortage against which nothing helps costs no more when the kernel goes on telling of it.
func TestFruitless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hard memory.available=100Mi", "hard nodefs.available=10%")
		n.has(evict.MemoryAvailable, 500)
		n.has(evict.NodeFSAvailable, 1)
		n.run()
		for range 50 {
			n.kernel <- struct{}{}
			pass(100 * time.Millisecond)
		}
		if cleared, told := n.tried(); cleared != 2 || told != 1 {
			t.Errorf("in five seconds it cleared away %d times and told %d times", cleared, told)
		}
		pass(10 * time.Second)
		if cleared, _ := n.tried(); cleared != 4 {
			t.Errorf("in fifteen seconds it cleared away %d times", cleared)
		}
	})
}

func TestTheKernelDoesNotTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hard memory.available=100Mi")
		n.deaf = errors.New("no pressure files")
		n.has(evict.MemoryAvailable, 500)
		n.run()
		pass(time.Minute)
		if looks, _ := n.seen(); n.said("the kernel does not tell") != 1 || looks != 7 {
			t.Errorf("%d looks", looks)
		}
	})
}

func TestOwnLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.pod("web", 0, 0, evict.NodeFSAvailable, limited("data", "10Mi"))
		n.pod("two", 0, 0, evict.NodeFSAvailable, limited("data", "10Mi"))
		n.pod("free", 0, 900, evict.NodeFSAvailable)
		n.pod("critical", 0, 0, evict.NodeFSAvailable, static, limited("data", "10Mi"))
		n.run()
		pass(time.Minute)
		n.writes("web", "data", 11)
		n.writes("two", "data", 12)
		n.writes("critical", "data", 13)
		pass(10 * time.Second)
		n.expect("evictions, of both at once", n.list(&n.evicted), "emptydirfs.limit; emptydirfs.limit")
		if got := n.list(&n.ordered); strings.Count(got, `in 1s: Usage of EmptyDir volume "data" exceeds the limit "10Mi". `) != 2 {
			t.Errorf("255: orders %s", got)
		}
		n.pressed()
		looks, measured := n.seen()
		if all := strings.Join(measured, "; "); looks != 0 || strings.Contains(all, "free") || strings.Contains(all, "critical") ||
			!strings.HasPrefix(all, "web {Writable:false Logs:false Volumes:true}") {
			t.Errorf("it looked %d times, and measured %v", looks, measured)
		}
	})
}

// What takes long to measure is measured seldom.
func TestBigVolumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.pod("web", 0, 0, evict.NodeFSAvailable, limited("data", "10Mi"))
		measure := n.cfg.Measure
		n.cfg.Measure = func(ctx context.Context, pods []evict.Candidate, need evict.Need) []evict.Candidate {
			time.Sleep(time.Second)
			return measure(ctx, pods, need)
		}
		n.run()
		pass(10 * time.Minute)
		if _, measured := n.seen(); len(measured) != 3 {
			t.Errorf("in ten minutes it was measured %d times", len(measured))
		}
	})
}

func TestLimitsSwitchedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.cfg.NoLimits = true
		n.pod("web", 0, 0, evict.NodeFSAvailable, limited("data", "10Mi"))
		n.writes("web", "data", 11)
		n.run()
		pass(time.Minute)
		n.expect("evictions", n.list(&n.evicted)+n.list(&n.measured), "")
	})
}

// A restart of the agent is no reason for the node to say that it has enough; a boot of the machine is.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, "hard memory.available=100Mi")
		n.has(evict.MemoryAvailable, 20)
		life := func(boot string, want ...v1.NodeConditionType) (end func()) {
			n.cfg.Boot = boot
			n.loop = New(n.cfg)
			n.pressed(want...)
			ctx, cancel := context.WithCancel(t.Context())
			var group sync.WaitGroup
			group.Go(func() { _ = n.loop.Run(ctx) })
			synctest.Wait()
			return func() { cancel(); group.Wait() }
		}
		end := life("b1")
		n.pressed(v1.NodeMemoryPressure)
		end()
		n.has(evict.MemoryAvailable, 200)
		pass(time.Hour)
		end = life("b1", v1.NodeMemoryPressure)
		pass(4 * time.Minute)
		n.pressed(v1.NodeMemoryPressure)
		pass(time.Minute)
		n.pressed()
		n.has(evict.MemoryAvailable, 20)
		pass(10 * time.Second)
		end()
		n.has(evict.MemoryAvailable, 200)
		life("b2")()
		path := filepath.Join(n.cfg.Dir, recordName)
		for _, text := range []string{"{", `{"version":2}`} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			before := n.said("is not known")
			life("b1")()
			if n.said("is not known") == before {
				t.Errorf("a file that holds %s is no problem", text)
			}
		}
	})
}
