package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/safepath"
	"github.com/bosun-project/bosun/internal/translate"
)

// hostPath is a path of the host, used in place (behaviour 176). Links of the host are followed: whoever may use
// hostPath may name any path anyway.
type hostPath struct{}

func (hostPath) dir() string { return "" }

func (hostPath) holds(v *v1.Volume) bool { return v.HostPath != nil }

func (hostPath) teardown(context.Context, place) error { return nil }

func (hostPath) shown(r *request) translate.Volume {
	return translate.Volume{HostPath: r.hostPath().Path}
}

// hostPath is the path of a volume, or of the persistent volume behind its claim.
func (r *request) hostPath() *v1.HostPathVolumeSource {
	if r.pv != nil {
		return r.pv.Spec.HostPath
	}
	return r.volume.HostPath
}

func (hostPath) setup(_ context.Context, r *request) error {
	source := r.hostPath()
	if source.Path == "" || source.Path[0] != '/' {
		return fmt.Errorf("%s.path %q: must be an absolute path", r.field, source.Path)
	}
	if source.Type == nil || *source.Type == v1.HostPathUnset {
		return nil
	}
	want := *source.Type
	if typeWords[want] == "" {
		return fmt.Errorf("%s.type %q: must be empty, DirectoryOrCreate, Directory, FileOrCreate, File, Socket, CharDevice or BlockDevice", r.field, want)
	}
	top, err := safepath.Open("/")
	if err != nil {
		return err
	}
	defer top.Close()
	top = top.With(safepath.LinksAsRoot)
	switch want {
	case v1.HostPathDirectoryOrCreate:
		err = createDirectory(top, source.Path)
	case v1.HostPathFileOrCreate:
		err = createFile(top, source.Path)
	}
	if err != nil {
		return err
	}
	return checkType(top, source.Path, want)
}

// typeWords are how the error calls what a type wants.
var typeWords = map[v1.HostPathType]string{
	v1.HostPathDirectoryOrCreate: "directory", v1.HostPathDirectory: "directory",
	v1.HostPathFileOrCreate: "file", v1.HostPathFile: "file",
	v1.HostPathSocket: "socket file", v1.HostPathCharDev: "character device", v1.HostPathBlockDev: "block device",
}

func checkType(top *safepath.Root, path string, want v1.HostPathType) error {
	h, err := top.Handle(inTop(path))
	var info fs.FileInfo
	if err == nil {
		defer h.Close()
		info, err = h.Stat()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("hostPath type check failed: %w", err)
	}
	if err != nil || !fits(info.Mode(), want) {
		return fmt.Errorf("hostPath type check failed: %s is not a %s", path, typeWords[want])
	}
	return nil
}

func fits(m fs.FileMode, want v1.HostPathType) bool {
	switch want {
	case v1.HostPathDirectory, v1.HostPathDirectoryOrCreate:
		return m.IsDir()
	case v1.HostPathFile, v1.HostPathFileOrCreate:
		return m.IsRegular()
	case v1.HostPathSocket:
		return m&fs.ModeSocket != 0
	case v1.HostPathCharDev:
		return m&fs.ModeCharDevice != 0
	case v1.HostPathBlockDev:
		return m&fs.ModeDevice != 0 && m&fs.ModeCharDevice == 0
	}
	return false
}

// createDirectory makes the directory if nothing is there; what else may be there is the type check's to judge.
func createDirectory(top *safepath.Root, path string) error {
	if h, err := top.Handle(inTop(path)); err == nil {
		return h.Close()
	}
	return top.MkdirAll(inTop(path), 0o755)
}

// createFile makes an empty file if nothing is there. The directory it is in must be there.
func createFile(top *safepath.Root, path string) error {
	if h, err := top.Handle(inTop(path)); err == nil {
		return h.Close()
	}
	f, err := top.Create(inTop(path), 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return f.Close()
}
