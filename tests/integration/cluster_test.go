package integration

import (
	"testing"
)

// A pod that is bound to the node runs, is told of, and when it is deleted leaves nothing, there and here.
func TestPodOfTheAPI(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	g := m.create(t, m.plane.Namespace(t), "web", "spec: {containers: [{name: main, image: BOX}]}")
	p := g.untilReady()
	if p.Status.PodIP == "" || p.Status.HostIP == "" || p.Status.StartTime == nil {
		t.Errorf("status %+v", p.Status)
	}
	g.remove()
	g.untilGone()
}
