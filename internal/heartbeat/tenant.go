package heartbeat

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// tenant keeps the node's lease while the node is registered (behaviour 289).
type tenant struct {
	*Loop
	try attempts
	// lease is as the API server has it; nil if that is not known.
	lease   *coordinationv1.Lease
	renewAt time.Time
}

func newTenant(l *Loop) *tenant {
	return &tenant{Loop: l, try: attempts{what: "renewing the node's lease", log: l.cfg.Log.With("node", l.cfg.Name), tell: func(t Trouble) {
		l.change(func(s *State) { s.Lease = t })
	}}}
}

func (t *tenant) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	back := t.cfg.Back() // kept until it is heard: it tells once only
	var owner types.UID
	for ctx.Err() == nil {
		uid, changed := t.object.Get()
		if uid != owner { // another object: the lease must be its
			owner, t.renewAt = uid, time.Time{}
		}
		var elapsed <-chan time.Time
		if uid != "" {
			timer.Reset(time.Until(t.turn(ctx, uid)))
			elapsed = timer.C
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-back:
			t.try.hurry()
			back = t.cfg.Back()
		case <-elapsed:
		}
	}
}

// turn renews the lease if it is time, and returns when it is time again.
func (t *tenant) turn(ctx context.Context, owner types.UID) time.Time {
	began := time.Now()
	if next := latestOf(t.renewAt, t.try.at); began.Before(next) {
		return next
	}
	if err := t.renew(ctx, owner); err != nil {
		if ctx.Err() == nil {
			t.try.failed(err, time.Now())
		}
		return t.try.at
	}
	now := time.Now()
	t.try.worked(now)
	t.change(func(s *State) { s.LastLease = now })
	t.renewAt = began.Add(about(t.cfg.LeaseDuration/4, 0.04))
	return t.renewAt
}

func latestOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// renew writes the lease, after reading or making it where it is not known. A lease that has changed or vanished since
// it was read is read once more.
func (t *tenant) renew(ctx context.Context, owner types.UID) error {
	var err error
	for range 2 {
		known := t.lease
		if known == nil {
			if known, err = t.find(ctx); err != nil {
				return err
			}
		}
		next := t.next(known, owner, time.Now())
		if known == nil {
			t.lease, err = t.cfg.Cluster.CreateLease(ctx, next)
		} else {
			t.lease, err = t.cfg.Cluster.UpdateLease(ctx, next)
		}
		if err == nil {
			return nil
		}
		t.lease = nil
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) && !apierrors.IsAlreadyExists(err) {
			break
		}
	}
	return fmt.Errorf("write the lease of node %s: %w", t.cfg.Name, err)
}

// find reads the lease; nil means that there is none.
func (t *tenant) find(ctx context.Context) (*coordinationv1.Lease, error) {
	lease, err := t.cfg.Cluster.GetLease(ctx, t.cfg.Name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the lease of node %s: %w", t.cfg.Name, err)
	}
	return lease, nil
}

// next is the lease renewed. Whoever held it, the name is this node's. Its time never goes back, even if the clock was
// set back: the node controller takes a lease whose time does not grow for one that is not renewed.
func (t *tenant) next(known *coordinationv1.Lease, owner types.UID, now time.Time) *coordinationv1.Lease {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: t.cfg.Name, Namespace: v1.NamespaceNodeLease}}
	if known != nil {
		lease = known.DeepCopy()
	}
	renewed := metav1.NewMicroTime(now)
	if last := lease.Spec.RenewTime; last != nil && !renewed.After(last.Time) {
		renewed = metav1.NewMicroTime(last.Add(time.Microsecond))
	}
	lease.Spec.HolderIdentity = ptr.To(t.cfg.Name)
	lease.Spec.LeaseDurationSeconds = ptr.To(int32(t.cfg.LeaseDuration / time.Second))
	lease.Spec.RenewTime = &renewed
	lease.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: v1.SchemeGroupVersion.String(), Kind: "Node", Name: t.cfg.Name, UID: owner,
	}}
	return lease
}
