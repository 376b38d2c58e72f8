package agent

import (
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/report"
)

// buildReporter makes what tells the API server about pods.
func (a *Agent) buildReporter() {
	a.reporter = report.New(report.Config{
		Pods: a.reportedPods, API: a.member.pods, Cluster: statuses{a.member.client}, Node: a.host.Name, Log: a.log,
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
