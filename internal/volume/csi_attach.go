package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/backoff"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/reason"
)

// looks are the pauses between two looks at an attachment: a node may read but not watch it. The node's own object is watched, and
// says when the controller has done its work.
var looks = backoff.Series{Initial: 50 * time.Millisecond, Max: 30 * time.Second}

// await waits until a volume is attached, and notes what that gave (behaviour 174). Before that it must be known to the controller that
// the volume is in use here: else it might take it away while it is being mounted.
func (k *csiKind) await(ctx context.Context, r *request, d *driven) error {
	k.count()
	if !d.attachable() {
		return nil
	}
	if k.unmanaged {
		return k.byOthers(ctx, r, d)
	}
	waiting, cancel := context.WithTimeout(ctx, k.attach)
	defer cancel()
	defer k.waitsNoMore(r)
	err := k.reported(waiting, r, d)
	if err == nil {
		err = k.attached(waiting, d)
	}
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errors.Is(err, fault.ErrExhausted): // the scheduler believed an old number
		k.drivers.Refresh(ctx, d.DriverName)
		return tell(reason.VolumeAttachmentLimitExceeded, fmt.Sprintf(
			"Node didn't have enough attachment slots for volume %q of CSI driver %s: %v", r.name(), d.DriverName, err), err)
	case waiting.Err() != nil:
		return tell(reason.FailedMount, fmt.Sprintf(
			"Unable to attach or mount volumes: unmounted volumes=[%s], unattached volumes=[%s], failed to process volumes=[]: timed out waiting for the condition: %v",
			r.volume.Name, r.volume.Name, err), fault.ErrTimeout)
	}
	return failed(r, "MountVolume.WaitForAttach", err)
}

// byOthers takes a volume that somebody has attached to a node that the controller leaves alone.
func (k *csiKind) byOthers(ctx context.Context, r *request, d *driven) error {
	a, err := k.cluster.Attachment(ctx, d.AttachmentID)
	if err == nil && a.Status.Attached {
		d.volume.PublishContext = a.Status.AttachmentMetadata
		return nil
	}
	return tell(reason.FailedAttachVolume, fmt.Sprintf("AttachVolume.Attach failed for volume %q : volumes of CSI drivers are attached by the controller, "+
		"which leaves this node alone: set enableControllerAttachDetach: true", r.name()), fault.ErrUnsupported)
}

// reported waits until the API server has it that the volume is in use and attached.
func (k *csiKind) reported(ctx context.Context, r *request, d *driven) error {
	name := d.unique()
	var pause time.Duration
	var problem error // what the driver has said last
	for {
		node, newer := k.cluster.Node()
		var missing error
		switch {
		case node == nil:
			missing = errors.New("the node's own object is not known")
		case !slices.Contains(node.Status.VolumesInUse, name):
			missing = errors.New("the API server has not been told yet that the volume is in use")
		case !slices.ContainsFunc(node.Status.VolumesAttached, func(a v1.AttachedVolume) bool { return a.Name == name }):
			missing = errors.New("the volume is not attached to this node")
		default:
			return nil
		}
		if problem != nil {
			missing = fmt.Errorf("%w: %w", missing, problem)
		}
		k.waitsFor(r, d, missing)
		pause = looks.Next(pause)
		timer := time.NewTimer(min(max(pause, time.Second), k.attach/2)) // once at least before the time is up
		select {
		case <-newer:
			timer.Stop()
		case <-timer.C:
			if problem = k.problem(ctx, d); errors.Is(problem, fault.ErrExhausted) {
				return problem
			}
		case <-ctx.Done():
			timer.Stop()
			return missing
		}
	}
}

// problem is why a volume cannot be attached, as its driver has said; nil if that is not known.
func (k *csiKind) problem(ctx context.Context, d *driven) error {
	a, err := k.cluster.Attachment(ctx, d.AttachmentID)
	if err != nil || a.Status.AttachError == nil {
		return nil
	}
	err = errors.New(a.Status.AttachError.Message)
	if code := a.Status.AttachError.ErrorCode; code != nil && codes.Code(*code) == codes.ResourceExhausted {
		err = fault.As(fault.ErrExhausted, err)
	}
	return err
}

// attached reads what attaching gave. The API server learns a moment late that this node may ask for it.
func (k *csiKind) attached(ctx context.Context, d *driven) error {
	var pause time.Duration
	for {
		a, err := k.cluster.Attachment(ctx, d.AttachmentID)
		switch {
		case err == nil && a.Status.Attached:
			d.volume.PublishContext = a.Status.AttachmentMetadata
			return nil
		case err == nil:
			err = fmt.Errorf("volume attachment %s says that the volume is not attached", d.AttachmentID)
		}
		pause = looks.Next(pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// Wait is what the setup of a volume waits for.
type Wait struct {
	// What names it, Problem says what is missing.
	What, Problem string
	Since         time.Time
}

// waiter is one volume of one pod.
type waiter struct {
	pod    types.UID
	volume string
}

// Waits tells what the setups of a pod's volumes wait for now, in no order.
func (v *Volumes) Waits(uid types.UID) []Wait {
	v.csi.mu.Lock()
	defer v.csi.mu.Unlock()
	var all []Wait
	for w, wait := range v.csi.waits {
		if w.pod == uid {
			all = append(all, wait)
		}
	}
	return all
}

func (k *csiKind) waitsFor(r *request, d *driven, missing error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	w := waiter{r.pod.UID, r.volume.Name}
	since := time.Now()
	if before, ok := k.waits[w]; ok {
		since = before.Since
	}
	k.waits[w] = Wait{What: fmt.Sprintf("attachment of volume %s (%s of CSI driver %s)", r.volume.Name, r.name(), d.DriverName), Problem: missing.Error(), Since: since}
}

func (k *csiKind) waitsNoMore(r *request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.waits, waiter{r.pod.UID, r.volume.Name})
}
