package agent

import (
	"context"
	"time"

	"github.com/bosun-project/bosun/internal/host"
	"github.com/bosun-project/bosun/internal/metrics"
)

// startupSlack is how far behind the clock of the API server may be for a node to count as new.
const startupSlack = 2 * time.Second

// followStartup measures how the machine became a new node that takes pods, and tells the metrics once it is one.
func (a *Agent) followStartup(ctx context.Context) error {
	s := metrics.Startup{Boot: host.Booted(), Agent: a.began}
	absent := false
	for s.Ready.IsZero() {
		joined, newerJoined := a.member.joined.Get()
		beat, newerBeat := a.heartbeat.State().Get()
		own, newerNode := a.member.ownNode()
		now := time.Now()
		absent = absent || own.known && own.object == nil
		if joined && s.Joining.IsZero() {
			s.Joining = now
		}
		if beat.Registered && s.Registered.IsZero() {
			s.Registered = now
		}
		if !s.Registered.IsZero() && own.object != nil {
			if !absent && own.object.CreationTimestamp.Time.Before(a.began.Add(-startupSlack)) {
				break // it was there before this agent
			}
			if ready(own.object) {
				s.Ready = now
				a.member.numbers.Started(s)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newerJoined:
		case <-newerBeat:
		case <-newerNode:
		}
	}
	<-ctx.Done()
	return nil
}
