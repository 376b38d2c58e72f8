package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/translate"
)

// nfs is a directory of an NFS server, in a pod or behind a claim (behaviour 188). The kernel cannot mount it alone: mount(8) asks the
// node's mount.nfs. Its owners are the server's, so fsGroup changes nothing.
type nfs struct {
	// program is mount(8).
	program string
}

const nfsDir = "kubernetes.io~nfs"

// nfsWait bounds an attempt to mount: mount.nfs itself tries for two minutes.
const nfsWait = 2*time.Minute + 30*time.Second

func (nfs) dir() string { return nfsDir }

func (nfs) holds(v *v1.Volume) bool { return v.NFS != nil }

func (n nfs) source(r *request) *v1.NFSVolumeSource {
	if r.pv != nil {
		return r.pv.Spec.NFS
	}
	return r.volume.NFS
}

func (n nfs) shown(r *request) translate.Volume {
	return translate.Volume{ReadOnly: n.source(r).ReadOnly || r.readOnly}
}

func (nfs) teardown(ctx context.Context, p place) error { return leave(ctx, p) }

func (n nfs) setup(ctx context.Context, r *request) error {
	source := n.source(r)
	if source.Server == "" || source.Path == "" || source.Path[0] != '/' {
		return fmt.Errorf("%s.nfs: server must be given, and path must be absolute", strings.TrimSuffix(r.field, ".nfs"))
	}
	if _, err := makeVolumeDir(r.place, dirMode); err != nil {
		return err
	}
	_, err := mountOnce(r.place, func(dir *os.File) error { return n.mount(ctx, r, source) })
	if err != nil {
		return failed(r, "MountVolume.SetUp", err)
	}
	return setReady(r.place)
}

// mount runs mount(8). The directory is the agent's own, and no tenant can change the way to it.
func (n nfs) mount(ctx context.Context, r *request, source *v1.NFSVolumeSource) error {
	ctx, cancel := context.WithTimeout(ctx, nfsWait)
	defer cancel()
	args := append([]string{"-t", "nfs"}, n.options(r, source)...)
	args = append(args, server(source.Server)+":"+source.Path, r.place.host())
	out, err := exec.CommandContext(ctx, n.program, args...).CombinedOutput()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("mount %s: %w", source.Server, err)
	case ctx.Err() != nil:
		return fmt.Errorf("mount %s:%s: it did not come to an end: %w", source.Server, source.Path, ctx.Err())
	}
	return fmt.Errorf("mount failed: %w\nMounting command: mount\nMounting arguments: %s\nOutput: %s", err, strings.Join(args, " "), strings.TrimSpace(string(out)))
}

// server spells an address as mount(8) wants it.
func server(name string) string {
	if strings.Contains(name, ":") && !strings.HasPrefix(name, "[") {
		return "[" + name + "]"
	}
	return name
}

func (n nfs) options(r *request, source *v1.NFSVolumeSource) []string {
	var all []string
	if r.pv != nil {
		all = slices.Clone(mountOptions(r.pv))
	}
	if source.ReadOnly || r.readOnly {
		all = append(all, "ro")
	}
	if len(all) == 0 {
		return nil
	}
	return []string{"-o", strings.Join(all, ",")}
}

// mountOptions are a persistent volume's; the annotation is from before there was a field.
func mountOptions(pv *v1.PersistentVolume) []string {
	if text := pv.Annotations[v1.MountOptionAnnotation]; text != "" {
		return strings.Split(text, ",")
	}
	return pv.Spec.MountOptions
}
