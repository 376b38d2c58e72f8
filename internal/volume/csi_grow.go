package volume

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

// grow has the driver make the node see the size that a volume has been given, if that is more than its claim says it has, and tells
// the claim (behaviour 185). The pod goes on meanwhile.
func (k *csiKind) grow(ctx context.Context, r *request, d *driven, staged, at string) error {
	if !d.driver.Can.Expand || !r.mayGrow() {
		return nil
	}
	size := r.size()
	if k.hasGrown(r, size.String()) {
		return nil
	}
	v := d.volume
	var err error
	if v.Secrets, err = secretOf(ctx, k.cluster, d.source.NodeExpandSecretRef); err == nil {
		_, err = d.driver.Expand(ctx, v, staged, at, size.Value())
	}
	if err != nil {
		return tell(reason.VolumeResizeFailed, fmt.Sprintf("NodeExpandVolume.NodeExpandVolume failed for volume %q : %v", r.name(), err), err)
	}
	if err := k.cluster.Grown(ctx, r.claim, size); err != nil {
		return tell(reason.VolumeResizeFailed, fmt.Sprintf("NodeExpandVolume.MarkFSResizeFinished failed for volume %q : %v", r.name(), err), err)
	}
	k.mu.Lock()
	k.grown[r.claim.UID] = size.String()
	k.mu.Unlock()
	if r.notes != nil {
		r.notes(note.Note{
			At: time.Now(), Level: note.Normal, Reason: reason.FileSystemResizeSuccessful,
			Message: fmt.Sprintf("NodeExpandVolume.NodeExpandVolume succeeded for volume %q", r.name()),
			About:   note.About{Kind: "Pod", Namespace: r.pod.Namespace, Name: r.pod.Name, UID: r.pod.UID},
		})
	}
	return nil
}

// mayGrow tells that a volume has been given more than its claim says it has.
func (r *request) mayGrow() bool {
	if r.claim == nil {
		return false
	}
	size, have := r.size(), r.claim.Status.Capacity[v1.ResourceStorage]
	return size.Cmp(have) > 0 && !have.IsZero()
}

// size is that of the persistent volume.
func (r *request) size() resource.Quantity { return r.pv.Spec.Capacity[v1.ResourceStorage] }

// hasGrown tells that this process has told the claim of this size already, which it does not see at once.
func (k *csiKind) hasGrown(r *request, size string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.grown[r.claim.UID] == size
}

// stagedAt is where a volume is staged; empty if its driver does not stage.
func (k *csiKind) stagedAt(d *driven) string {
	if d.source == nil || !d.driver.Can.Stage {
		return ""
	}
	return filepath.Join(k.volumes.root, stagingDir(d.csiData), csiStaging)
}
