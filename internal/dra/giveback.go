package dra

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	pb "k8s.io/kubelet/pkg/apis/dra/v1"
)

// Unprepare gives back what was prepared for a pod, or may have been: all that no other pod uses. The error names claim and driver.
func (c *Claims) Unprepare(ctx context.Context, uid types.UID) (err error) {
	left, last := c.leave(uid)
	if len(left)+len(last) == 0 {
		return nil
	}
	began := time.Now()
	defer func() { c.cfg.Observe("UnprepareResources", err != nil, time.Since(began)) }()
	if err := c.save(ctx, left); err != nil {
		return err
	}
	parts := c.asked(last)
	err = atOnce(parts, func(name string, claims []types.UID) error { return c.unprepareWith(ctx, name, uid, claims) })
	return join([]error{err, c.save(ctx, c.drop(uid, last))})
}

// leave takes a pod from the users of all claims that have others: left. Of those in last it is the only one.
func (c *Claims) leave(uid types.UID) (left, last []types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.records {
		at := slices.Index(r.Pods, uid)
		switch {
		case at < 0:
		case len(r.Pods) == 1:
			last = append(last, r.UID)
		default:
			r.Pods = slices.Delete(slices.Clone(r.Pods), at, at+1)
			left = append(left, r.UID)
		}
	}
	slices.Sort(left)
	slices.Sort(last)
	return left, last
}

// asked are claims by the drivers that were asked to prepare them.
func (c *Claims) asked(claims []types.UID) map[string][]types.UID {
	c.mu.Lock()
	defer c.mu.Unlock()
	parts := map[string][]types.UID{}
	for _, uid := range claims {
		if r := c.records[uid]; r != nil {
			for name, p := range r.Parts {
				if p.Asked {
					parts[name] = append(parts[name], uid)
				}
			}
		}
	}
	return parts
}

// unprepareWith has one driver take back its part in claims that only one pod uses. A pod that comes to use one meanwhile waits, and
// has it prepared anew.
func (c *Claims) unprepareWith(ctx context.Context, name string, pod types.UID, claims []types.UID) error {
	free, err := c.take(ctx, keysOf(claims, name))
	if err != nil {
		return err
	}
	defer free()
	d, err := c.cfg.Drivers.driver(name)
	if err != nil {
		return fmt.Errorf("NodeUnprepareResources failed for ResourceClaim %s: %w", c.names(claims), err)
	}
	ask := c.choose(c.only(pod, claims), name, func(p part) (part, bool) { return part{Asked: true}, p.Asked })
	if len(ask) == 0 {
		return nil
	}
	if err := c.save(ctx, claims); err != nil { // nobody takes it as prepared any more, whatever happens
		return err
	}
	answers, err := d.unprepare(ctx, ask)
	if err != nil {
		return fmt.Errorf("NodeUnprepareResources failed for ResourceClaim %s of driver %s: %w", namesOf(ask), name, err)
	}
	var wrong []error
	for _, claim := range ask {
		if err := given(claim, answers); err != nil {
			wrong = append(wrong, fmt.Errorf("NodeUnprepareResources failed for ResourceClaim %s of driver %s: %w", claim.Name, name, err))
			continue
		}
		c.put(claim, name, part{})
	}
	return join(wrong)
}

func (c *Claims) names(claims []types.UID) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for _, uid := range claims {
		if r := c.records[uid]; r != nil {
			names = append(names, r.Name)
		}
	}
	return strings.Join(names, ", ")
}

// given tells whether a driver has taken a claim back.
func given(claim *pb.Claim, answers map[string]*pb.NodeUnprepareResourceResponse) error {
	answer, ok := answers[claim.Uid]
	switch {
	case !ok:
		return fmt.Errorf("the driver has not answered about it")
	case answer.GetError() != "":
		return fmt.Errorf("%s", answer.GetError())
	}
	return nil
}

// only are the claims that no other pod uses.
func (c *Claims) only(pod types.UID, claims []types.UID) []types.UID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(claims), func(uid types.UID) bool {
		r := c.records[uid]
		return r == nil || len(r.Pods) != 1 || r.Pods[0] != pod
	})
}

// drop forgets the claims of a pod of which nothing is prepared any more, and takes the pod from those that another one uses by now.
// It tells of which there is something new to remember.
func (c *Claims) drop(pod types.UID, claims []types.UID) []types.UID {
	c.mu.Lock()
	defer c.mu.Unlock()
	var changed []types.UID
	for _, uid := range claims {
		r := c.records[uid]
		switch {
		case r == nil:
		case len(r.Pods) > 1:
			r.Pods = slices.DeleteFunc(slices.Clone(r.Pods), func(p types.UID) bool { return p == pod })
			changed = append(changed, uid)
		case !r.asked():
			delete(c.records, uid)
			changed = append(changed, uid)
		}
	}
	return changed
}

func (r *record) asked() bool {
	for _, p := range r.Parts {
		if p.Asked {
			return true
		}
	}
	return false
}
