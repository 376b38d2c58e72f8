package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/mount"
	"github.com/bosun-project/bosun/internal/safepath"
)

// RemovePodDir removes the directory of a pod and all that is in it (behaviour 192). It refuses, naming what is in the
// way, while anything is mounted beneath it, and while a directory of a kind of volume this version does not know still
// holds something: that may be data of somebody who outlives the pod. It never crosses a mount, whatever happens
// meanwhile. It is no error if there is no such directory.
func (v *Volumes) RemovePodDir(ctx context.Context, uid types.UID) error {
	if err := v.removePodDir(ctx, uid); err != nil {
		return fmt.Errorf("remove directory of pod %s: %w", uid, err)
	}
	return nil
}

func (v *Volumes) removePodDir(ctx context.Context, uid types.UID) error {
	pod, err := v.openPod(uid)
	if err != nil || pod == nil {
		return err
	}
	defer pod.Close()
	if err := nothingMounted(pod); err != nil {
		return err
	}
	dirs, err := list(pod, "volumes")
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if k := v.kindIn(dir); k != nil && !foreign[dir] {
			continue
		}
		if err := removeEmpty(pod, filepath.Join("volumes", dir)); err != nil {
			return err
		}
	}
	pods, err := safepath.Open(filepath.Join(v.root, "pods"))
	if err != nil {
		return err
	}
	defer pods.Close()
	return pods.RemoveAll(ctx, string(uid))
}

// foreign are the directories of kinds whose volumes outlive the pod: what is found there may be their data.
var foreign = map[string]bool{csiDir: true, localDir: true, nfsDir: true}

// nothingMounted refuses if the mount table has anything at the pod's directory or beneath it.
func nothingMounted(pod *safepath.Root) error {
	h, err := pod.Handle(".")
	if err != nil {
		return err
	}
	defer h.Close()
	real, err := os.Readlink(safepath.ProcPath(h)) // the mount table knows no symbolic links
	if err != nil {
		return err
	}
	table, err := mount.Read()
	if err != nil {
		return err
	}
	var points []string
	for _, m := range table.Under(real) {
		points = append(points, m.Point)
	}
	if len(points) > 0 {
		return fmt.Errorf("%w: %s", safepath.ErrMounted, strings.Join(points, ", "))
	}
	return nil
}

// removeEmpty removes a directory of directories that hold nothing.
func removeEmpty(pod *safepath.Root, dir string) error {
	found, err := list(pod, dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range found {
		sub := filepath.Join(dir, name)
		info, err := pod.Lstat(sub)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s was left there and nobody knows by whom: it may be data of others, so remove it by hand", pod.Join(sub))
		} else if err == nil {
			err = removeEmpty(pod, sub)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return pod.Remove(dir)
}
