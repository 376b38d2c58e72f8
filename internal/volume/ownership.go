package volume

import (
	"context"
	"io/fs"
	"syscall"
	"time"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/safepath"
)

// ownership is what fsGroup asks of a volume (behaviour 186).
type ownership struct {
	// gid is nil if the volume keeps the owner it has.
	gid *int64
	// readOnly volumes give the group leave to read only.
	readOnly bool
	// onRootMismatch leaves the volume alone if its root is as it should be. emptyDir and the like never have it.
	onRootMismatch bool
	// slow is told how a change goes on that takes long; may be nil.
	slow func(message string)
}

func (r *request) ownership() ownership {
	if r.pod.Spec.SecurityContext == nil {
		return ownership{}
	}
	o := ownership{gid: r.pod.Spec.SecurityContext.FSGroup}
	if r.notes != nil {
		o.slow = func(message string) {
			r.notes(note.Note{
				At: time.Now(), Level: note.Warning, Reason: reason.VolumePermissionChangeInProgress, Message: message,
				About: note.About{Kind: "Pod", Namespace: r.pod.Namespace, Name: r.pod.Name, UID: r.pod.UID},
			})
		}
	}
	return o
}

// own gives a directory and all beneath it to the group: group ID, group bits, and on directories the set-group-ID bit,
// so that new files belong to the group as well. Symbolic links are changed themselves, and mounts beneath left alone.
func own(ctx context.Context, r *safepath.Root, name string, o ownership) error {
	if o.gid == nil {
		return nil
	}
	if o.onRootMismatch {
		info, err := r.Lstat(name)
		if err != nil || o.fits(info) {
			return err
		}
	}
	seen := func() {}
	if o.slow != nil {
		p := follow(r.Join(name), o.slow)
		defer p.end()
		seen = func() { p.files.Add(1) }
	}
	return r.Walk(ctx, name, func(e safepath.Entry) error {
		seen()
		if o.fits(e.Info) {
			return nil
		}
		if err := safepath.Chown(e.File, -1, int(*o.gid)); err != nil {
			return err
		}
		if e.Info.Mode()&fs.ModeSymlink != 0 {
			return nil
		}
		// Also when the bits were right: chown takes set-group-ID away from executable files.
		return safepath.Chmod(e.File, o.mode(e.Info.Mode()))
	})
}

// mode is the permission bits a file or directory gets.
func (o ownership) mode(m fs.FileMode) fs.FileMode {
	bits := fs.FileMode(0o660)
	if o.readOnly {
		bits = 0o440
	}
	if m.IsDir() {
		bits |= 0o110 | fs.ModeSetgid
	}
	return m&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) | bits
}

func (o ownership) fits(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int64(st.Gid) != *o.gid {
		return false
	}
	m := info.Mode()
	return m&fs.ModeSymlink != 0 || o.mode(m) == m&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)
}
