package objects

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/fault"
)

// Claim is ConfigMap for a claim; the error is fault.ErrNotFound if it does not exist.
func (l *Loop) Claim(ctx context.Context, namespace, name string) (*v1.PersistentVolumeClaim, error) {
	value, err := l.wait().read(ctx, key{claims, namespace, name})
	if err != nil {
		return nil, err
	}
	if c, ok := value.(*v1.PersistentVolumeClaim); ok {
		return c, nil
	}
	return nil, fault.As(fault.ErrNotFound, fmt.Errorf("persistentvolumeclaim %q not found", name))
}

// Volume is ConfigMap for a persistent volume; the error is fault.ErrNotFound if it does not exist.
func (l *Loop) Volume(ctx context.Context, name string) (*v1.PersistentVolume, error) {
	value, err := l.wait().read(ctx, key{volumes, "", name})
	if err != nil {
		return nil, err
	}
	if v, ok := value.(*v1.PersistentVolume); ok {
		return v, nil
	}
	return nil, fault.As(fault.ErrNotFound, fmt.Errorf("persistentvolume %q not found", name))
}

// Driver is what the cluster knows of a CSI driver; nil if it knows nothing. It waits as ConfigMap does.
func (l *Loop) Driver(ctx context.Context, name string) (*storage.CSIDriver, error) {
	value, err := l.wait().read(ctx, key{kind: drivers})
	if err != nil {
		return nil, err
	}
	all, _ := value.([]*storage.CSIDriver)
	for _, d := range all {
		if d.Name == name {
			return d, nil
		}
	}
	return nil, nil
}

// Touch lets the revisions of pods grow for something that has changed elsewhere: a driver has come, or time has gone by.
func (l *Loop) Touch(which func(*v1.Pod) bool) {
	l.mu.Lock()
	for uid, u := range l.pods {
		if which(u.pod) {
			l.dirty[uid] = true
		}
	}
	l.mu.Unlock()
	l.wake()
}

// bind has the pods that use a claim use its volume too, as soon as it is known which that is.
func (l *Loop) bind(e *entry, now time.Time) {
	name := volumeOf(e.value)
	if name == "" {
		return
	}
	k := key{volumes, "", name}
	for uid := range e.users {
		if u := l.pods[uid]; u != nil && !u.keys[k] {
			u.keys[k] = true
			l.entry(k, now).users[uid] = true
		}
	}
}

// volumeOf is the volume that a claim is bound to; empty if it is not, or is no claim.
func volumeOf(value any) string {
	if c, ok := value.(*v1.PersistentVolumeClaim); ok && c.Status.Phase == v1.ClaimBound {
		return c.Spec.VolumeName
	}
	return ""
}

// trimClaim and trimVolume keep what pods use, without what only changes; nil stays nil.
func trimClaim(c *v1.PersistentVolumeClaim) any {
	if c == nil {
		return nil
	}
	out := &v1.PersistentVolumeClaim{ObjectMeta: standing(c), Spec: v1.PersistentVolumeClaimSpec{
		VolumeName: c.Spec.VolumeName, VolumeMode: c.Spec.VolumeMode, AccessModes: c.Spec.AccessModes, Resources: c.Spec.Resources,
	}}
	out.OwnerReferences, out.DeletionTimestamp = c.OwnerReferences, c.DeletionTimestamp
	out.Status = v1.PersistentVolumeClaimStatus{Phase: c.Status.Phase, Capacity: c.Status.Capacity}
	for _, x := range c.Status.Conditions {
		if x.Type == v1.PersistentVolumeClaimFileSystemResizePending || x.Type == v1.PersistentVolumeClaimResizing {
			out.Status.Conditions = append(out.Status.Conditions, v1.PersistentVolumeClaimCondition{Type: x.Type, Status: x.Status})
		}
	}
	return out
}

func trimVolume(v *v1.PersistentVolume) any {
	if v == nil {
		return nil
	}
	out := &v1.PersistentVolume{ObjectMeta: standing(v), Spec: v.Spec}
	for _, key := range []string{v1.MountOptionAnnotation, groupAnnotation} {
		if text, ok := v.Annotations[key]; ok {
			metav1.SetMetaDataAnnotation(&out.ObjectMeta, key, text)
		}
	}
	return out
}

// groupAnnotation is a group that containers with the volume are in.
const groupAnnotation = "pv.beta.kubernetes.io/gid"

// standing is the identity of an object without its version.
func standing(o metav1.Object) metav1.ObjectMeta {
	m := identity(o)
	m.ResourceVersion = ""
	return m
}
