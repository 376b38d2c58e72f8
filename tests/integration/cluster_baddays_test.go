package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

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
	before, cuts := len(x.Requests()), 0
	stop := repeatedly(func() time.Duration { return 300 * time.Millisecond }, func() {
		x.CutWatches("")
		cuts++
	})
	defer stop()
	for i := range 4 {
		g := m.create(t, ns, fmt.Sprint("cut-", i), plain)
		at := time.Now()
		g.untilReady()
		took(t, "create until ready", at, 15*time.Second)
		g.remove()
		g.untilGone()
	}
	stop()
	notMany(t, watches(x, before), 5*cuts+10) // pods, node, services, and what a pod uses
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
	first := m.create(t, ns, "before", plain)
	first.untilReady()
	x.Inject(controlplane.Fault{Expire: true, Kind: controlplane.Reads})
	before, cuts := len(x.Requests()), 0
	stop := repeatedly(func() time.Duration { return 300 * time.Millisecond }, func() {
		x.CutWatches("")
		cuts++
	})
	defer stop()
	began := time.Now()
	second := m.create(t, ns, "during", plain)
	second.untilReady()
	took(t, "create until ready", began, 15*time.Second)
	first.remove()
	first.untilGone()
	took(t, "the other one gone", began, 30*time.Second)
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
	g := m.create(t, ns, "inside", `
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: out, hostPath: {path: `+out+`}}]
  containers: [{name: main, image: BOX, args: [await, /out/end], volumeMounts: [{name: out, mountPath: /out}]}]
`)
	g.untilReady()
	leaving := m.create(t, ns, "leaving", plain)
	leaving.untilReady()
	x.Freeze()
	leaving.remove()
	touch(t, out+"/end") // it crashes, and is started again
	eventually(t, func() error {
		all, err := m.containersOf("inside")
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
