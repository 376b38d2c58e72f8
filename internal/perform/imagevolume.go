package perform

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/narrate"
	"github.com/bosun-project/bosun/internal/plan"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/translate"
)

// ensureVolumeImage brings the image of an image volume onto the node, under the same rules as that of a container. While the
// pod lives it is the one that its name stood for at first, unless that has gone (behaviour 189).
func (x *Performer) ensureVolumeImage(ctx context.Context, d *pod.Desired, e plan.Effect) plan.Outcome {
	i := slices.IndexFunc(d.Pod.Spec.Volumes, func(v v1.Volume) bool { return v.Name == e.Volume && v.Image != nil })
	if i < 0 {
		return plan.Outcome{Failed: failure(fmt.Errorf("pod %s/%s has no image volume %s", d.Pod.Namespace, d.Pod.Name, e.Volume))}
	}
	source := d.Pod.Spec.Volumes[i].Image
	pulling := func() { x.tell(narrate.Pulling(d, "", source.Reference, time.Now())) }
	c := &v1.Container{Image: source.Reference, ImagePullPolicy: source.PullPolicy}
	image, pulled, failed := x.cfg.Images.Ensure(ctx, d.Pod, c, e.ID, nil, pulling)
	if failed != nil {
		return plan.Outcome{Failed: failed}
	}
	return plan.Outcome{Image: image, Pulled: &pulled}
}

// addImageVolumes adds the image volumes that a container mounts to those that are set up: the runtime mounts them itself, and is
// told the very image that is there.
func addImageVolumes(to map[string]translate.Volume, d *pod.Desired, c *v1.Container, seen plan.Seen) {
	for _, v := range pod.ImageVolumes(d.Pod, c) {
		if image, ok := seen.Memory.Session.VolumeImages[v.Name]; ok {
			to[v.Name] = translate.Volume{Image: &runtimeapi.ImageSpec{
				Image: image.ID, UserSpecifiedImage: v.Image.Reference, Annotations: maps.Clone(d.Pod.Annotations),
			}}
		}
	}
}

func isImage(p *v1.Pod, volume string) bool {
	return slices.ContainsFunc(p.Spec.Volumes, func(v v1.Volume) bool { return v.Name == volume && v.Image != nil })
}
