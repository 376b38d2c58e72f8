package pin_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/pin"
)

// node is a machine with four processors, of which 0 is the system's, and what the kernel and the disk of it hold.
type node struct {
	pods latest.Cell[[]pin.Pod]
	up   latest.Cell[bool]

	mu sync.Mutex
	// kernel holds the processors of containers, refuse why the runtime refuses to change them.
	kernel map[string]string
	refuse map[string]error
	files  map[string]string
	full   error
	// calls counts what the runtime was told, reads what the kernel was asked.
	calls, reads int
	log          strings.Builder
}

func newNode() *node {
	n := &node{kernel: map[string]string{}, refuse: map[string]error{}, files: map[string]string{}}
	n.up.Set(true)
	return n
}

func (n *node) start(t *testing.T, static bool) *pin.Loop {
	m := allocate.Machine{Banks: []allocate.Bank{{Memory: 1 << 30}}}
	for id := range 4 {
		m.CPUs = append(m.CPUs, allocate.CPU{ID: id, Core: id})
	}
	l := pin.New(pin.Config{
		Rules: &allocate.Rules{Machine: m, CPU: allocate.CPURules{Static: static, Reserved: allocate.CPUsOf(0)}},
		Pods:  n.pods.Get, Up: n.up.Get, Every: time.Minute, Log: slog.New(slog.NewTextHandler(&n.log, nil)),
		Update: func(_ context.Context, id, cpus string) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.calls++
			if err := n.refuse[id]; err != nil {
				return err
			}
			n.kernel[id] = cpus
			return nil
		},
		Read: func(_ types.UID, id string) (string, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.reads++
			cpus, ok := n.kernel[id]
			if !ok {
				return "", errors.New("no cgroup")
			}
			return cpus, nil
		},
		Write: func(name string, content []byte) error {
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.full == nil {
				n.files[name] = string(content)
			}
			return n.full
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = l.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	return l
}

// has waits until all is quiet and compares what the kernel has.
func (n *node) has(t *testing.T, when string, want map[string]string) {
	t.Helper()
	time.Sleep(time.Second / 2)
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !maps.Equal(n.kernel, want) {
		t.Errorf("%s: containers run on %v, want %v", when, n.kernel, want)
	}
}

// did returns how often runtime and kernel were asked since it was called last.
func (n *node) did() (calls, reads int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	calls, reads = n.calls, n.reads
	n.calls, n.reads = 0, 0
	return calls, reads
}

func (n *node) set(id, cpus string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kernel[id] = cpus
}

func sharing(uid types.UID, ids ...string) pin.Pod {
	p := pin.Pod{UID: uid, Containers: map[string]string{}}
	for _, id := range ids {
		p.Containers[id] = "main"
	}
	return p
}

func owning(uid types.UID, id string, cpus ...int) pin.Pod {
	p := sharing(uid, id)
	p.Assigned = &allocate.Assigned{Containers: map[string]allocate.Part{"main": {CPUs: allocate.CPUsOf(cpus...)}}}
	return p
}

// TestLoop holds 232: what others share follows at once when a pod with processors of its own comes and goes, also where
// somebody else has written meanwhile, and quiet is quiet.
func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.set("a", "") // made by an earlier agent
		n.pods.Set([]pin.Pod{sharing("u", "a")})
		l := n.start(t, true)
		n.has(t, "at first", map[string]string{"a": ""})
		if calls, reads := n.did(); calls != 0 || reads != 1 || l.Shared() != "" {
			t.Errorf("a container that is where it belongs was told %d times and looked at %d times; %q is shared", calls, reads, l.Shared())
		}
		l.Placed("b", "3") // made by this one
		n.set("b", "3")
		n.pods.Set([]pin.Pod{sharing("u", "a"), owning("v", "b", 3)})
		n.has(t, "with an owner", map[string]string{"a": "0-2", "b": "3"})
		if calls, reads := n.did(); calls != 1 || reads != 0 || l.Shared() != "0-2" {
			t.Errorf("for one change the runtime was told %d times and the kernel asked %d times; %q is shared", calls, reads, l.Shared())
		}
		if file := n.files[allocate.CPUFile]; !strings.Contains(file, `"defaultCpuSet":"0-2","entries":{"v":{"main":"3"}}`) {
			t.Errorf("the file says %s", file)
		}
		n.set("a", "0-3")
		time.Sleep(2 * time.Minute)
		n.has(t, "after somebody else has written", map[string]string{"a": "0-2", "b": "3"})
		n.did()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if calls, reads := n.did(); calls != 0 || reads != 20 {
			t.Errorf("in ten quiet minutes the runtime was told %d times and the kernel asked %d times", calls, reads)
		}
		n.pods.Set([]pin.Pod{sharing("u", "a"), sharing("v")})
		n.has(t, "when the owner has gone", map[string]string{"a": "0-3", "b": "3"})
	})
}

// A container may be made on what is shared a moment before that changes.
func TestContainerMadeMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		l := n.start(t, true)
		cpus := l.Shared()
		n.pods.Set([]pin.Pod{owning("v", "b", 1, 2)})
		l.Placed("b", "1-2")
		n.set("b", "1-2")
		n.has(t, "before", map[string]string{"b": "1-2"})
		l.Placed("a", cpus)
		n.set("a", cpus)
		n.pods.Set([]pin.Pod{owning("v", "b", 1, 2), sharing("u", "a")})
		n.has(t, "when it is seen", map[string]string{"a": "0,3", "b": "1-2"})
	})
}

// What fails is said once and tried again; a container that has ended is no failure; a runtime that is away is not asked.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.refuse["a"], n.refuse["gone"] = errors.New("busy"), fault.ErrNotFound
		n.full = errors.New("disk full")
		n.up.Set(false)
		n.start(t, true)
		n.pods.Set([]pin.Pod{owning("v", "b", 1), sharing("u", "a", "c", "gone")})
		n.has(t, "while the runtime is away", map[string]string{})
		n.up.Set(true)
		n.has(t, "when it is back", map[string]string{"b": "1", "c": "0,2-3"})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := n.log.String(); strings.Count(got, "busy") != 1 || strings.Count(got, "disk full") != 2 || strings.Contains(got, "gone") {
			t.Errorf("it was said:\n%s", got)
		}
		n.mu.Lock()
		n.refuse["a"], n.full = nil, nil
		n.mu.Unlock()
		time.Sleep(2 * time.Minute)
		n.has(t, "when the runtime does it", map[string]string{"a": "0,2-3", "b": "1", "c": "0,2-3"})
		if len(n.files) != 2 {
			t.Errorf("the files are %v", n.files)
		}
	})
}

// TestOtherPolicy holds that under another policy the owners keep what they have, and nobody is told who runs where.
func TestOtherPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.set("a", "0-3")
		n.set("b", "1")
		n.pods.Set([]pin.Pod{owning("v", "b", 1), sharing("u", "a")})
		n.start(t, false)
		n.has(t, "with an owner", map[string]string{"a": "0,2-3", "b": "1"})
		if got := n.files[allocate.CPUFile]; !strings.HasPrefix(got, `{"policyName":"none","defaultCpuSet":"","entries":{"v":{"main":"1"}},"checksum"`) {
			t.Errorf("the file says %s", got)
		}
		n.pods.Set([]pin.Pod{sharing("u", "a")})
		n.has(t, "when the owner has gone", map[string]string{"a": "0-3", "b": "1"})
	})
}
