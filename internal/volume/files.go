package volume

import (
	"context"
	"fmt"
	"io/fs"
	"path"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/translate"
	"github.com/bosun-project/bosun/internal/volume/atomicdir"
)

// writeFiles sets up a volume whose files the agent writes, in memory (behaviour 177). Done again with other files, it
// changes them all at once under the eyes of running containers.
func writeFiles(ctx context.Context, r *request, files map[string]atomicdir.File, nodeMemory int64) error {
	if err := atomicdir.Check(files); err != nil {
		return fmt.Errorf("%s: %w", r.field, err)
	}
	if _, err := makeVolumeDir(r.place, 0o755); err != nil {
		return err
	}
	if _, err := mountMemory(r.place, memorySize(r.pod, nil, nodeMemory), 0o755); err != nil {
		return err
	}
	dir, err := r.place.pod.Sub(r.place.path())
	if err != nil {
		return err
	}
	defer dir.Close()
	if _, err := atomicdir.Write(ctx, dir, files, ownershipOf(r.pod).gid); err != nil {
		return err
	}
	return setReady(r.place)
}

// shownFiles is how such a volume is shown to containers.
func shownFiles() translate.Volume { return translate.Volume{ReadOnly: true, Relabel: true} }

// downwardAPI shows fields of the pod and resources of its containers as files (behaviour 180).
type downwardAPI struct{ allocatable v1.ResourceList }

func (downwardAPI) dir() string { return "kubernetes.io~downward-api" }

func (downwardAPI) holds(v *v1.Volume) bool { return v.DownwardAPI != nil }

func (downwardAPI) shown(*v1.Volume) translate.Volume { return shownFiles() }

func (downwardAPI) teardown(ctx context.Context, p place) error { return removeVolumeDir(ctx, p) }

func (d downwardAPI) setup(ctx context.Context, r *request) error {
	source := r.volume.DownwardAPI
	files := map[string]atomicdir.File{}
	if err := addDownward(files, r.pod, source.Items, source.DefaultMode, r.field, d.allocatable); err != nil {
		return err
	}
	return writeFiles(ctx, r, files, d.allocatable.Memory().Value())
}

// projected shows several sources in one volume; of those that need no API server there is downwardAPI. What is named
// later holds (behaviour 183).
type projected struct{ allocatable v1.ResourceList }

func (projected) dir() string { return "kubernetes.io~projected" }

func (projected) holds(v *v1.Volume) bool { return v.Projected != nil }

func (projected) shown(*v1.Volume) translate.Volume { return shownFiles() }

func (projected) teardown(ctx context.Context, p place) error { return removeVolumeDir(ctx, p) }

func (p projected) setup(ctx context.Context, r *request) error {
	source := r.volume.Projected
	files := map[string]atomicdir.File{}
	for i := range source.Sources {
		part := &source.Sources[i]
		field := fmt.Sprintf("%s.sources[%d]", r.field, i)
		if part.DownwardAPI == nil {
			return &unsupported{field: field + "." + projectionName(part), works: "sources[].downwardAPI"}
		}
		if err := addDownward(files, r.pod, part.DownwardAPI.Items, source.DefaultMode, field+".downwardAPI", p.allocatable); err != nil {
			return err
		}
	}
	return writeFiles(ctx, r, files, p.allocatable.Memory().Value())
}

// addDownward computes the files of a list of items.
func addDownward(files map[string]atomicdir.File, pod *v1.Pod, items []v1.DownwardAPIVolumeFile, mode *int32, field string, allocatable v1.ResourceList) error {
	for i := range items {
		item := &items[i]
		var text string
		var err error
		switch {
		case item.FieldRef != nil:
			text, err = environ.Field(pod, item.FieldRef.FieldPath, environ.Facts{Allocatable: allocatable})
		case item.ResourceFieldRef != nil:
			text, err = environ.Resource(pod, nil, item.ResourceFieldRef, allocatable)
		default:
			err = fmt.Errorf("must have fieldRef or resourceFieldRef")
		}
		if err != nil {
			return fmt.Errorf("%s.items[%d]: %w", field, i, err)
		}
		files[path.Clean(item.Path)] = atomicdir.File{Data: []byte(text), Mode: fileMode(item.Mode, mode)}
	}
	return nil
}

// fileMode is the item's mode, else the volume's, else 0644.
func fileMode(modes ...*int32) fs.FileMode {
	for _, m := range modes {
		if m != nil {
			return fs.FileMode(*m) & fs.ModePerm
		}
	}
	return 0o644
}
