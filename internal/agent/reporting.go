package agent

import (
	"cmp"
	"context"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/cluster"
	"github.com/bosun-project/bosun/internal/events"
	"github.com/bosun-project/bosun/internal/mirror"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/report"
)

// buildReporter makes what tells the API server about pods.
func (a *Agent) buildReporter() {
	a.reporter = report.New(report.Config{
		Pods: a.reportedPods, API: a.member.pods, Cluster: statuses{a.member.client}, Node: a.host.Name, Log: a.log,
		Told: func(t report.Told) { a.member.numbers.StatusTold(t.Waited) },
	})
}

// reportedPods are the pods as the API server is to hear of them; what only the runtime knows is none of its business.
func (a *Agent) reportedPods() ([]report.Pod, <-chan struct{}) {
	entries, newer := a.set.Table().Pods()
	pods := make([]report.Pod, 0, len(entries))
	for _, e := range entries {
		d := e.Desired
		if d.Source == pod.FromRuntime {
			continue
		}
		pods = append(pods, report.Pod{
			UID: d.UID(), Namespace: d.Pod.Namespace, Name: d.Pod.Name, Static: d.Static(), Status: &e.Status, Rested: e.Memory.Session.Rested,
		})
	}
	return pods, newer
}

// buildMirrors makes what shows static pods to the API server.
func (a *Agent) buildMirrors() {
	a.mirrors = mirror.New(mirror.Config{
		Static: a.static.Get, API: a.member.pods, Cluster: statuses{a.member.client}, Notes: a.note,
		Node: func() (*v1.Node, <-chan struct{}) {
			n, newer := a.member.node.Get()
			return n.object, newer
		},
	})
}

// followStatic keeps what there is of static pods newest.
func (a *Agent) followStatic(ctx context.Context) error {
	for {
		wanted, newerWanted := a.wanted.Get()
		entries, newerEntries := a.set.Table().Pods()
		now := mirror.Static{Ready: wanted.Ready, Alive: map[types.UID]bool{}}
		for _, d := range wanted.Pods {
			if d.Static() {
				now.Wanted = append(now.Wanted, d)
			}
		}
		for _, e := range entries {
			switch d := e.Desired; {
			case !d.Static():
			case wanted.Pods[d.UID()] == nil:
				now.Ending = append(now.Ending, d)
			case e.Memory.Kept.Stop == nil && !e.Memory.Kept.Admitted.IsZero():
				now.Alive[d.UID()] = true
			}
		}
		sortStatic(now.Wanted)
		sortStatic(now.Ending)
		if before := a.static.Value(); before.Ready != now.Ready || !slices.Equal(before.Wanted, now.Wanted) || !slices.Equal(before.Ending, now.Ending) ||
			!maps.Equal(before.Alive, now.Alive) {
			a.static.Set(now)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newerWanted:
		case <-newerEntries:
		}
	}
}

func sortStatic(pods []*pod.Desired) {
	slices.SortFunc(pods, func(a, b *pod.Desired) int { return cmp.Compare(a.UID(), b.UID()) })
}

// buildEvents makes what tells the API server what happens.
func (a *Agent) buildEvents() {
	a.events = events.New(events.Config{
		Node: a.host.Name, Sender: eventSender{a.member.client}, Log: a.log,
		Version: func(uid types.UID) string {
			if p := a.member.byUID.Value().pods[uid]; p != nil {
				return p.ResourceVersion
			}
			return ""
		},
		NodeUID: func() types.UID {
			if n := a.member.node.Value().object; n != nil {
				return n.UID
			}
			return ""
		},
	})
}

// eventSender fits the client to what events are sent with.
type eventSender struct{ *cluster.Client }

func (eventSender) Unreachable(err error) bool { return cluster.Unreachable(err) }
