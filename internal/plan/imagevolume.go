package plan

import (
	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/pod"
)

// volumeImages wants the images of the image volumes that a container mounts; it tells whether all are there (behaviour 189).
// What a name stood for when it was first resolved holds as long as the pod lives: a tag may move.
func (d *draft) volumeImages(c *v1.Container) bool {
	all := true
	for _, v := range pod.ImageVolumes(d.in.Desired.Pod, c) {
		if got, ok := d.mem.Session.VolumeImages[v.Name]; ok && got.Name == v.Image.Reference {
			continue
		}
		all = false
		e := Effect{
			Kind: EnsureImage, Volume: v.Name, Image: v.Image.Reference, ID: d.mem.Kept.VolumeImages[v.Name], Content: d.in.Facts.Logins,
		}
		if !d.planned(e) {
			d.wantOfRuntime(e)
		}
	}
	return all
}

// lacksImage tells whether an image that a container needs could not be had when it was last tried.
func (d *draft) lacksImage(c *v1.Container) bool {
	failed := func(e Effect) bool { return d.mem.Kept.Failures[e.Subject()].Count > 0 }
	for _, v := range pod.ImageVolumes(d.in.Desired.Pod, c) {
		if failed(Effect{Kind: EnsureImage, Volume: v.Name}) {
			return true
		}
	}
	return failed(Effect{Kind: EnsureImage, Container: c.Name})
}

// learnVolumeImage remembers what the name of an image volume stands for.
func learnVolumeImage(m *Memory, volume string, image ResolvedImage) {
	if m.Session.VolumeImages == nil {
		m.Session.VolumeImages = map[string]ResolvedImage{}
	}
	m.Session.VolumeImages[volume] = image
	if m.Kept.VolumeImages == nil {
		m.Kept.VolumeImages = map[string]string{}
	}
	m.Kept.VolumeImages[volume] = image.ID
}
