package volume

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/translate"
	"github.com/bosun-project/bosun/internal/volume/atomicdir"
)

// written is a kind of volume whose files the agent writes: configMap, secret, downwardAPI and projected (behaviour
// 177). Done again with other files, its setup changes them all at once under the eyes of running containers; nothing is
// mounted anew.
type written struct {
	// name is the kind's directory.
	name string
	is   func(*v1.Volume) bool
	// memory keeps the files in memory, at most nodeMemory bytes (0: the kernel's default). Config maps lie on disk.
	memory     bool
	nodeMemory int64
	content    func(context.Context, *v1.Pod, *v1.Volume) (content.Files, error)
}

// writtenKinds are all of them.
func writtenKinds(cfg Config) []kind {
	k := written{nodeMemory: cfg.Allocatable.Memory().Value(), content: cfg.Content}
	if k.content == nil {
		k.content = alone(cfg.Allocatable)
	}
	configMap := k
	configMap.name, configMap.is = "kubernetes.io~configmap", func(v *v1.Volume) bool { return v.ConfigMap != nil }
	k.memory = true
	secret, downwardAPI, projected := k, k, k
	secret.name, secret.is = "kubernetes.io~secret", func(v *v1.Volume) bool { return v.Secret != nil }
	downwardAPI.name, downwardAPI.is = "kubernetes.io~downward-api", func(v *v1.Volume) bool { return v.DownwardAPI != nil }
	projected.name, projected.is = "kubernetes.io~projected", func(v *v1.Volume) bool { return v.Projected != nil }
	return []kind{configMap, secret, downwardAPI, projected}
}

func (w written) dir() string { return w.name }

func (w written) holds(v *v1.Volume) bool { return w.is(v) }

func (written) shown(*request) translate.Volume {
	return translate.Volume{ReadOnly: true, Relabel: true}
}

func (written) teardown(ctx context.Context, p place) error { return removeVolumeDir(ctx, p) }

func (w written) setup(ctx context.Context, r *request) error {
	files, err := w.content(ctx, r.pod, r.volume)
	if err != nil {
		return err
	}
	if err := files.Check(); err != nil {
		return fmt.Errorf("%s: %w", r.field, err)
	}
	if _, err := makeVolumeDir(r.place, openMode); err != nil {
		return err
	}
	if w.memory {
		if _, err := mountMemory(r.place, memorySize(r.pod, nil, w.nodeMemory), memoryMode); err != nil {
			return err
		}
	}
	dir, err := r.place.pod.Sub(r.place.path())
	if err != nil {
		return err
	}
	defer dir.Close()
	if _, err := atomicdir.Write(ctx, dir, files, r.ownership().gid); err != nil {
		return err
	}
	return setReady(r.place)
}

// alone makes the content of volumes without an API server: those that show only the pod itself.
func alone(allocatable v1.ResourceList) func(context.Context, *v1.Pod, *v1.Volume) (content.Files, error) {
	return func(_ context.Context, p *v1.Pod, v *v1.Volume) (content.Files, error) {
		if field := needsServer(p, v); field != "" {
			return nil, &unsupported{field: field, why: "needs a Kubernetes API server", works: worksAlone}
		}
		return content.Of(p, v, content.Facts{Facts: environ.Facts{Allocatable: allocatable}})
	}
}

// needsServer names what in a volume needs the API server; empty if nothing does.
func needsServer(p *v1.Pod, v *v1.Volume) string {
	at := sourceField(p, v)
	switch {
	case v.ConfigMap != nil, v.Secret != nil:
		return at
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			if s := &v.Projected.Sources[i]; s.DownwardAPI == nil && content.SourceName(s) != "" {
				return fmt.Sprintf("%s.sources[%d].%s", at, i, content.SourceName(s))
			}
		}
	}
	return ""
}
