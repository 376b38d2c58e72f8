package integration

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// Each call takes two seconds: the node joins, pods come and go, and what they are told takes some calls, not more.
func TestAPIServerSlow(t *testing.T) {
	t.Parallel()
	m, x := besieged(t)
	defer x.Heal()
	x.Inject(controlplane.Fault{Delay: 2 * time.Second})
	began := time.Now()
	m.start(t)
	m.untilReady(t)
	took(t, "start until the node is ready", began, 20*time.Second)
	ns := m.plane.Namespace(t)
	m.configMap(t, ns, "settings", map[string]string{"word": "first\n"})
	began = time.Now()
	g := m.create(t, ns, "slow", `
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: settings, configMap: {name: settings}}]
  containers: [{name: main, image: BOX, args: [cat, /settings/word, then, wait], volumeMounts: [{name: settings, mountPath: /settings}]}]
`)
	g.untilSays("main", "first")
	took(t, "create until the container runs", began, 10*time.Second)
	g.untilReady()
	took(t, "create until ready", began, 15*time.Second)
	began = time.Now()
	g.remove()
	g.untilGone()
	took(t, "delete until gone", began, 15*time.Second)
}

// Now and then calls fail, one way or another, or break off after they were done: all that is wanted still comes about,
// and nothing that was told is lost.
func TestAPIServerErring(t *testing.T) {
	t.Parallel()
	m, x := besieged(t)
	defer x.Heal()
	random := dice(t)
	stop := repeatedly(
		func() time.Duration { return time.Duration(50+random.IntN(400)) * time.Millisecond },
		func() {
			x.Heal()
			faults := []controlplane.Fault{
				{}, {}, {}, {}, {}, {Status: 500}, {Status: 503}, {Status: 429, RetryAfter: time.Second}, {Cut: true}, {Lose: true, Kind: controlplane.Writes},
			}
			if f := faults[random.IntN(len(faults))]; f != (controlplane.Fault{}) {
				x.Inject(f)
			}
		})
	defer stop()
	m.start(t)
	m.untilReady(t)
	ns := m.plane.Namespace(t)
	m.configMap(t, ns, "settings", map[string]string{"word": "first\n"})
	began := time.Now()
	for i := range 6 {
		g := m.create(t, ns, fmt.Sprint("erring-", i), `
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: BOX, args: [say, hello, then, `+[]string{"wait", "exit, \"3\""}[i%2]+`], env: [{name: WORD, valueFrom: {configMapKeyRef: {name: settings, key: word}}}]}]
`)
		if i%2 == 0 {
			g.untilReady()
			g.remove()
			g.untilGone()
		} else {
			p := g.until("over", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
			if s := p.Status.ContainerStatuses[0].State.Terminated; s == nil || s.ExitCode != 3 {
				t.Errorf("pod %s ended as %+v", p.Name, p.Status.ContainerStatuses)
			}
		}
	}
	took(t, "six pods", began, time.Minute)
}

// Watches end all the time: pods still come and go, and the API server is not asked more than makes sense.
func TestAPIServerClosingWatches(t *testing.T) {
	t.Parallel()
	m, x := besieged(t)
	m.start(t)
	m.untilReady(t)
	ns := m.plane.Namespace(t)
	before, all := len(x.Requests()), 0
	for _, c := range []struct {
		every time.Duration
		times int
		most  time.Duration
	}{
		{1200 * time.Millisecond, 4, 5 * time.Second},
		{300 * time.Millisecond, 12, 20 * time.Second}, // then the agent leaves the API server more and more alone
	} {
		var cuts atomic.Int32
		stop := repeatedly(func() time.Duration { return c.every }, func() {
			x.CutWatches("")
			cuts.Add(1)
		})
		defer stop()
		var longest time.Duration
		pods := 0
		for ; int(cuts.Load()) < c.times; pods++ {
			g := m.create(t, ns, fmt.Sprint("cut-", pods, "-", c.every.Milliseconds()), plain)
			at := time.Now()
			g.untilReady()
			longest = max(longest, time.Since(at))
			g.remove()
			g.untilGone()
		}
		stop()
		all += int(cuts.Load())
		t.Logf("watches cut every %v: %d pods, create until ready at most %v", c.every, pods, longest)
		if longest > c.most {
			t.Errorf("a pod was ready %v after it was made, want at most %v", longest, c.most)
		}
	}
	notMany(t, watches(x, before), 5*all+10) // pods, node, services, and what a pod uses
}

func watches(x *controlplane.Proxy, since int) []controlplane.Request {
	return slices.DeleteFunc(x.Requests()[since:], func(r controlplane.Request) bool { return !r.Watch })
}

func notMany(t *testing.T, asked []controlplane.Request, most int) {
	t.Helper()
	t.Logf("%d requests", len(asked))
	if len(asked) > most {
		t.Errorf("want at most %d requests, there were:\n%s", most, countBy(asked, requestLine))
	}
}

func requestLine(r controlplane.Request) string {
	path, _, _ := strings.Cut(r.URI, "?")
	return fmt.Sprint(r.Method, " ", path, " ", r.Status)
}

// The API server tells each watch that goes on from a version, and each list, that the version is too old: what there is
// becomes known all the same, and without a storm.
func TestAPIServerAnswersGone(t *testing.T) {
	t.Parallel()
	m, x := besieged(t)
	defer x.Heal()
	m.start(t)
	m.untilReady(t)
	ns := m.plane.Namespace(t)
	first := m.create(t, ns, "expired-before", plain)
	first.untilReady()
	x.Inject(controlplane.Fault{Expire: true, Kind: controlplane.Reads})
	before, cuts := len(x.Requests()), 0
	stop := repeatedly(func() time.Duration { return 300 * time.Millisecond }, func() {
		x.CutWatches("")
		cuts++
	})
	defer stop()
	began := time.Now()
	second := m.create(t, ns, "expired-during", plain)
	second.untilReady()
	took(t, "create until ready", began, 15*time.Second)
	first.remove()
	first.untilGone()
	took(t, "the other one gone", began, patience)
	stop()
	notMany(t, watches(x, before), 15*cuts+10) // three for each cut: from the version, a list from it, a list from now
}

// Packets vanish, in both directions and without a sign: what runs is looked after, what happens is told once packets pass
// again over new connections.
func TestAPIServerBlackHole(t *testing.T) {
	t.Parallel()
	m, x := besieged(t)
	defer x.Thaw()
	m.start(t)
	m.untilReady(t)
	ns := m.plane.Namespace(t)
	out := m.path(t)
	g := m.create(t, ns, "hole-inside", `
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: out, hostPath: {path: `+out+`}}]
  containers: [{name: main, image: BOX, args: [await, /out/end], volumeMounts: [{name: out, mountPath: /out}]}]
`)
	g.untilReady()
	leaving := m.create(t, ns, "hole-leaving", plain)
	leaving.untilReady()
	x.Freeze()
	leaving.remove()
	touch(t, out+"/end") // it crashes, and is started again
	eventually(t, func() error {
		all, err := m.containersOf("hole-inside")
		if err == nil && (len(all) == 0 || all[0].Metadata.Attempt == 0) {
			err = fmt.Errorf("the container was not started again: %v", all)
		}
		return err
	})
	m.untilLogged(t, "renewing the node's lease failed")
	x.CutConnections() // what was sent into the hole stays there
	x.Thaw()
	began := time.Now()
	g.until("told as restarted", func(p *v1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount >= 1 })
	took(t, "well again until the restart is told", began, 20*time.Second)
	leaving.untilGone()
	took(t, "well again until the deleted pod is gone", began, 20*time.Second)
}

// The API server restarts again and again, by a crash and in order: pods go on, and what is wanted comes about at once when
// it is back.
func TestAPIServerRestarting(t *testing.T) {
	t.Parallel()
	plane := controlplane.Start(t, controlplane.Options{})
	m := quietMember(t, plane, "")
	m.start(t)
	m.untilReady(t)
	ns := plane.Namespace(t)
	steady := m.create(t, ns, "restarting-steady", plain)
	steady.untilReady()
	before := steady.containerID("main")
	for i, end := range []func() error{plane.KillAPIServer, plane.StopAPIServer} {
		name := fmt.Sprint("restarting-", i)
		g := m.create(t, ns, name, plain) // in the middle of its start
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := plane.StartAPIServer(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		g.untilReady()
		took(t, "back until ready", began, 10*time.Second)
		g.remove()
		if err := plane.KillAPIServer(); err != nil { // in the middle of its end
			t.Fatal(err)
		}
		if err := plane.StartAPIServer(t.Context()); err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		g.untilGone()
		took(t, "back until gone", began, 10*time.Second)
	}
	same(t, "container of the pod that was left alone", steady.containerID("main"), before)
	m.untilReady(t)
}

// The API server's store is put back to what it was some time ago: versions go backwards, pods are as they were then. The
// node follows: what was made since goes, what was deleted since runs again, what was changed since is as before, and
// what is told from then on arrives.
func TestAPIServerRolledBack(t *testing.T) {
	t.Parallel()
	plane := controlplane.Start(t, controlplane.Options{})
	m := quietMember(t, plane, "")
	m.start(t)
	m.untilReady(t)
	ns := plane.Namespace(t)
	m.configMap(t, ns, "settings", map[string]string{"word": "old"})
	watching := m.create(t, ns, "rolled-watching", `
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: settings, configMap: {name: settings}}]
  containers: [{name: main, image: BOX, volumeMounts: [{name: settings, mountPath: /settings}]}]
`)
	ended := m.create(t, ns, "rolled-ended", plain)
	watching.untilReady()
	ended.untilReady()
	word := m.root + "/pods/" + watching.uid + "/volumes/kubernetes.io~configmap/settings/word"
	untilHolds(t, word, "old")
	backup := t.TempDir() + "/backup"
	if err := plane.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	m.untilReady(t)
	m.configMap(t, ns, "settings", map[string]string{"word": "new"})
	untilHolds(t, word, "new")
	ended.remove()
	ended.untilGone()
	var late []*guest
	for i := range 3 {
		late = append(late, m.create(t, ns, fmt.Sprint("rolled-late-", i), plain))
	}
	for _, g := range late {
		g.untilReady()
	}
	container := watching.containerID("main")

	if err := plane.Restore(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, g := range late {
		g.untilGone()
	}
	took(t, "rolled back until what was made since is gone", began, 20*time.Second)
	untilHolds(t, word, "old")
	took(t, "rolled back until the ConfigMap is the old one", began, 20*time.Second)
	after := m.create(t, ns, "rolled-after", plain)
	after.untilReady()
	took(t, "rolled back until a new pod is ready", began, 30*time.Second)
	same(t, "container of a pod that was there all the time", watching.containerID("main"), container)
	ended.untilReady() // it was ready in the backup; now it is again
	eventually(t, func() error {
		all, err := m.containersOf("rolled-ended")
		if err == nil && (len(all) != 1 || all[0].State != runtimeapi.ContainerState_CONTAINER_RUNNING) {
			err = fmt.Errorf("the pod whose deletion was rolled back has %v", all)
		}
		return err
	})
	took(t, "rolled back until the pod runs whose deletion is undone", began, 30*time.Second)
	m.untilReady(t)
	m.configMap(t, ns, "settings", map[string]string{"word": "newest"})
	began = time.Now()
	untilHolds(t, word, "newest")
	took(t, "until an update of the ConfigMap is seen", began, 5*time.Second)
}

// The API server's clock is set back, or ahead, by an hour, while the agent runs and again over its restart: pods come and go as
// ever, with all of their grace and not more, and tokens are had and used.
func TestAPIServerClockIsSet(t *testing.T) {
	t.Parallel()
	for kind, offset := range map[string]time.Duration{"back": -time.Hour, "ahead": time.Hour} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			m, x := besieged(t)
			m.start(t)
			m.untilReady(t)
			ns := m.plane.Namespace(t)
			spec := "spec: {terminationGracePeriodSeconds: 3, containers: [{name: main, image: BOX, args: [ignore-term]}]}"
			before := m.create(t, ns, "clock-before-"+kind, spec)
			before.untilReady()
			container := before.containerID("main")
			x.SetClock(offset)
			x.CutWatches("")
			for _, when := range []string{"running", "restarted"} {
				if when == "restarted" {
					m.restart(t)
				}
				began := time.Now()
				g := m.create(t, ns, "clock-"+when+"-"+kind, spec)
				g.untilReady()
				took(t, "create until ready", began, 15*time.Second)
				began = time.Now()
				g.remove()
				g.untilGone()
				took(t, "delete until gone, with a grace of 3 s", began, 15*time.Second)
				if d := time.Since(began); d < 2900*time.Millisecond {
					t.Errorf("a pod with a grace of 3 s was gone after %v", d)
				}
			}
			same(t, "container of the pod that was there", before.containerID("main"), container)
			m.untilReady(t)
		})
	}
}
