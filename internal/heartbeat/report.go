package heartbeat

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/bosun-project/bosun/internal/nodestatus"
)

// report sends the status if it must be sent now, else it returns when it may have to be (behaviour 290).
func (m *member) report(ctx context.Context, f nodestatus.Facts, round bool) (wake time.Time, err error) {
	now := time.Now()
	previous := m.base.Status
	next := nodestatus.Status(previous, f, now)
	need := nodestatus.NeedOf(previous, next)
	if m.ignored.version == m.base.ResourceVersion && nodestatus.NeedOf(m.ignored.sent, next) == nodestatus.Nothing {
		need = nodestatus.Nothing
	}
	if at := m.when(need, now, round); now.Before(at) {
		return at, nil
	}
	patch, err := nodestatus.Patch(m.base.UID, previous, next)
	if err != nil {
		return time.Time{}, err
	}
	answer, err := m.cfg.Cluster.PatchNodeStatus(ctx, m.cfg.Name, patch)
	if err != nil { // not found, or invalid for its UID: the object is deleted, or another one has come in its place
		m.doubt = apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsInvalid(err)
		return time.Time{}, fmt.Errorf("report the status of node %s: %w", m.cfg.Name, err)
	}
	m.try.worked(time.Now())
	m.take(answer)
	m.reported(answer, next, need != nodestatus.Nothing)
	m.tell(previous, next)
	return time.Time{}, nil
}

// when is the moment from which a status may be sent.
func (m *member) when(need nodestatus.Need, now time.Time, round bool) time.Time {
	at := m.reportAt
	switch need {
	case nodestatus.Nothing:
	case nodestatus.Later:
		if round {
			at = now
		}
	case nodestatus.Soon:
		at = earliest(m.soon.at, at)
	case nodestatus.AtOnce:
		at = earliest(m.urgent.at, m.soon.at, at)
	}
	return at
}

// reported remembers that the API server took a status.
func (m *member) reported(answer *v1.Node, sent v1.NodeStatus, changed bool) {
	now := time.Now()
	m.sureAt = now
	m.change(func(s *State) { s.LastStatus = now })
	m.reportAt = now.Add(m.cfg.ReportEvery)
	if changed { // nodes that were changed at the same moment spread out
		m.reportAt = now.Add(time.Duration((0.5 + rand.Float64()) * float64(m.cfg.ReportEvery)))
		m.soon.sent(now)
		m.urgent.sent(now)
	}
	m.ignored = ignored{}
	if nodestatus.NeedOf(answer.Status, sent) != nodestatus.Nothing {
		m.ignored = ignored{sent: sent, version: answer.ResourceVersion}
	}
}

func (m *member) tell(previous, next v1.NodeStatus) {
	for _, n := range nodestatus.Notes(m.cfg.Name, previous, next, time.Now()) {
		m.cfg.Notes(n)
	}
}
