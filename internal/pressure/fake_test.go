package pressure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/evict"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
)

const mi = int64(1) << 20

// node is a machine with pods, of which each uses something and takes some time to end.
type node struct {
	t    *testing.T
	loop *Loop
	cfg  Config

	mu       sync.Mutex
	left     map[evict.Signal]evict.Reading
	layout   evict.Layout
	problem  error
	pods     []Pod
	uses     map[types.UID]evict.Usage
	takes    map[types.UID]time.Duration // none is a second
	frees    map[types.UID]map[evict.Signal]int64
	spare    map[evict.Signal]int64 // what clearing away frees, once
	images   int                    // how many times more there are unused ones
	looks    int
	measured []string
	cleared  []string
	ordered  []string
	evicted  []string
	notes    []string
	log      bytes.Buffer
	cell     latest.Cell[[]Pod]
	kernel   chan struct{} // the kernel tells
	deaf     error
	start    time.Time
}

// thresholds are as the configuration has them: "hard SIGNAL=VALUE", "soft SIGNAL=VALUE/GRACE", "reclaim SIGNAL=VALUE".
func newNode(t *testing.T, thresholds ...string) *node {
	texts := evict.Texts{Hard: map[string]string{}, Soft: map[string]string{}, SoftGrace: map[string]string{}, Reclaim: map[string]string{}}
	for _, th := range thresholds {
		kind, rest, _ := strings.Cut(th, " ")
		signal, value, _ := strings.Cut(rest, "=")
		value, grace, _ := strings.Cut(value, "/")
		switch kind {
		case "hard":
			texts.Hard[signal] = value
		case "soft":
			texts.Soft[signal], texts.SoftGrace[signal] = value, grace
		case "reclaim":
			texts.Reclaim[signal] = value
		}
	}
	parsed, err := evict.Parse(texts, false)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{
		t: t, left: map[evict.Signal]evict.Reading{}, layout: evict.One, uses: map[types.UID]evict.Usage{}, takes: map[types.UID]time.Duration{},
		frees: map[types.UID]map[evict.Signal]int64{}, spare: map[evict.Signal]int64{}, kernel: make(chan struct{}), start: time.Now(),
	}
	n.cfg = Config{
		Dir: t.TempDir(), Boot: "b1",
		Settings: evict.Settings{Thresholds: parsed, Hold: 5 * time.Minute, MostGrace: 20 * time.Second},
		Read:     n.read, Measure: n.measure, Pods: n.cell.Get, Watch: n.watch,
		Containers: func(context.Context) error { n.clear("containers"); return nil },
		Images: func(_ context.Context, lacking int64) (int64, error) {
			n.clear(fmt.Sprintf("images %dMi", lacking/mi))
			n.mu.Lock()
			defer n.mu.Unlock()
			n.images--
			return int64(max(n.images+1, 0)), errors.New("one is needed after all")
		},
		Evicted: func(signal string, _ time.Duration) { n.note(&n.evicted, signal) },
		Notes: func(x note.Note) {
			n.note(&n.notes, fmt.Sprint(x.Level, " ", x.About.Kind, " ", x.Reason, ": ", x.Message))
		},
		Log: slog.New(slog.NewTextHandler(n, nil)),
	}
	n.cell.Set(nil)
	return n
}

func (n *node) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(p)
}

func (n *node) note(list *[]string, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	*list = append(*list, text)
}

func (n *node) read(context.Context) (evict.Readings, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.looks++
	out := evict.Readings{At: time.Now(), Of: map[evict.Signal]evict.Reading{}, Layout: n.layout}
	for s, r := range n.left {
		out.Of[s] = r
	}
	return out, n.problem
}

func (n *node) measure(_ context.Context, pods []evict.Candidate, need evict.Need) []evict.Candidate {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := slices.Clone(pods)
	var names []string
	for i := range out {
		out[i].Usage = n.uses[out[i].Pod.UID()]
		names = append(names, string(out[i].Pod.UID()))
	}
	n.measured = append(n.measured, fmt.Sprintf("%s %+v", strings.Join(names, ","), need.Disk))
	return out
}

func (n *node) clear(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cleared = append(n.cleared, what)
	for s, more := range n.spare {
		r := n.left[s]
		r.Available += more
		n.left[s] = r
	}
	n.spare = nil
}

func (n *node) watch(ctx context.Context, _ func() map[evict.Signal]int64, tell func()) error {
	for n.deaf == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-n.kernel:
			tell()
		}
	}
	return n.deaf
}

// has sets what is available of a signal, of 1000 Mi.
func (n *node) has(s evict.Signal, available int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.left[s] = evict.Reading{Available: available * mi, Capacity: 1000 * mi}
}

// pod adds one that uses some Mi of memory and of the disk, and frees as much of a signal when it has gone.
func (n *node) pod(uid types.UID, priority int32, uses int64, frees evict.Signal, edits ...func(*pod.Desired)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := &pod.Desired{Source: pod.FromAPI, Wanted: true, Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid, Name: string(uid)}, Spec: v1.PodSpec{
		Priority: &priority, TerminationGracePeriodSeconds: new(int64(60)), Containers: []v1.Container{{Name: "app"}},
	}}}
	for _, edit := range edits {
		edit(d)
	}
	n.uses[uid] = evict.Usage{Memory: uses * mi, Containers: map[string]evict.ContainerUsage{"app": {Memory: uses * mi, Writable: evict.Disk{Bytes: uses * mi}}}}
	n.frees[uid] = map[evict.Signal]int64{frees: uses}
	n.pods = append(n.pods, Pod{Desired: d})
	n.cell.Set(slices.Clone(n.pods))
}

// writes makes a pod have written some Mi into its volume.
func (n *node) writes(uid types.UID, volume string, much int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.uses[uid] = evict.Usage{Volumes: map[string]evict.Disk{volume: {Bytes: much * mi}}}
}

// carryOut ends pods that are ordered to.
func (n *node) carryOut(ctx context.Context) {
	begun := map[types.UID]bool{}
	for {
		orders, newer := n.loop.Orders().Get()
		for uid, o := range orders {
			if begun[uid] {
				continue
			}
			begun[uid] = true
			n.note(&n.ordered, fmt.Sprintf("+%v %s in %v: %s", time.Since(n.start), uid, o.Grace, o.Message))
			n.mu.Lock()
			takes, known := n.takes[uid]
			n.mu.Unlock()
			if !known {
				takes = time.Second
			}
			time.AfterFunc(takes, func() { n.end(uid) })
		}
		select {
		case <-ctx.Done():
			return
		case <-newer:
		}
	}
}

func (n *node) end(uid types.UID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.pods {
		if n.pods[i].Desired.UID() == uid {
			n.pods[i].Gone = true
		}
	}
	for s, more := range n.frees[uid] {
		r := n.left[s]
		r.Available += more * mi
		n.left[s] = r
	}
	n.cell.Set(slices.Clone(n.pods))
}

// run runs the loop until the test is over.
func (n *node) run() {
	n.loop = New(n.cfg)
	ctx, cancel := context.WithCancel(n.t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := n.loop.Run(ctx); err != nil {
			n.t.Error(err)
		}
	})
	group.Go(func() { n.carryOut(ctx) })
	n.t.Cleanup(func() { cancel(); group.Wait() })
	synctest.Wait()
}

func (n *node) said(text string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(n.log.String(), text)
}

func (n *node) list(of *[]string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(*of, "; ")
}

// tried is how often something was cleared away, and told.
func (n *node) tried() (cleared, told int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.cleared), len(n.notes)
}

// seen is how often the node was looked at, and what was measured.
func (n *node) seen() (looks int, measured []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.looks, slices.Clone(n.measured)
}

func (n *node) expect(what, got, want string) {
	n.t.Helper()
	if got != want {
		n.t.Errorf("at +%v %s: %s\nwant %s", time.Since(n.start), what, got, want)
	}
}

func (n *node) pressed(want ...v1.NodeConditionType) {
	n.t.Helper()
	n.expect("pressure", fmt.Sprint(n.loop.Pressure().Value()), fmt.Sprint(want))
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func static(d *pod.Desired) { d.Source = pod.FromFile }

func limited(volume, limit string) func(*pod.Desired) {
	return func(d *pod.Desired) {
		q := resource.MustParse(limit)
		d.Pod.Spec.Volumes = append(d.Pod.Spec.Volumes, v1.Volume{Name: volume, VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{SizeLimit: &q}}})
	}
}
