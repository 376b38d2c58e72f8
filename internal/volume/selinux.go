package volume

import (
	"context"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/mount"
	"github.com/bosun-project/bosun/internal/safepath"
)

// SELinux is how volumes get their labels on a node with SELinux (behaviours 101, 194).
type SELinux struct {
	// File is the label of files of containers, such as system_u:object_r:container_file_t:s0.
	File string
	// All tells that volumes of all access modes may be mounted with a label, not only those of one pod.
	All bool
	// Mounted tells with which label a volume is mounted, empty if with none; nil for what the mount table says.
	Mounted func(at string) (string, error)
}

// labelOf is the label that a volume is to be mounted with, which spares relabelling each file: the one that the pod names for all
// containers that see the volume, if the driver can do it and the pod does not want otherwise. Empty if there is none.
func (s *SELinux) labelOf(r *request, d *driven) (string, error) {
	if !s.labels(r, d) {
		return "", nil
	}
	var whole *v1.SELinuxOptions
	if sc := r.pod.Spec.SecurityContext; sc != nil {
		if whole = sc.SELinuxOptions; sc.SELinuxChangePolicy != nil && *sc.SELinuxChangePolicy == v1.SELinuxChangePolicyRecursive {
			return "", nil
		}
	}
	label, first := "", ""
	for _, c := range users(r.pod, r.volume.Name) {
		own := whole
		if c.SecurityContext != nil && c.SecurityContext.SELinuxOptions != nil {
			own = c.SecurityContext.SELinuxOptions
		}
		if own == nil || own.Level == "" { // the runtime chooses
			return "", nil
		}
		this := s.label(own)
		if label != "" && this != label {
			return "", fmt.Errorf("containers %q and %q want it with different SELinux labels, %s and %s: it can be mounted with one only; "+
				"seLinuxChangePolicy: Recursive lets the runtime relabel it", first, c.Name, label, this)
		}
		label, first = this, c.Name
	}
	return label, nil
}

// labels tells whether a volume may be mounted with a label: the driver can do that, and nobody has chosen one already.
func (s *SELinux) labels(r *request, d *driven) bool {
	switch {
	case s == nil, r.pv == nil, r.block(), d.object == nil || d.object.Spec.SELinuxMount == nil || !*d.object.Spec.SELinuxMount:
		return false
	case slices.ContainsFunc(mountOptions(r.pv), func(o string) bool { return mountedWith(o) != "" }):
		return false
	}
	return s.All || slices.Equal(r.pv.Spec.AccessModes, []v1.PersistentVolumeAccessMode{v1.ReadWriteOncePod})
}

// mounted is the label that a volume was mounted with.
func (s *SELinux) mounted(at string) (string, error) {
	if s.Mounted != nil {
		return s.Mounted(at)
	}
	table, err := mount.Read()
	if err != nil {
		return "", err
	}
	m, _ := table.At(at)
	return mountedWith(m.FSOptions), nil
}

// label is that of files for processes with a label: user and level are the same.
func (s *SELinux) label(o *v1.SELinuxOptions) string {
	parts := strings.SplitN(s.File, ":", 4)
	if len(parts) < 4 {
		parts = []string{"system_u", "object_r", "container_file_t", "s0"}
	}
	if o.User != "" {
		parts[0] = o.User
	}
	parts[3] = o.Level
	return strings.Join(parts, ":")
}

// users are the containers of a pod that see a volume.
func users(p *v1.Pod, volume string) []v1.Container {
	var all []v1.Container
	take := func(c v1.Container) {
		if slices.ContainsFunc(c.VolumeMounts, func(m v1.VolumeMount) bool { return m.Name == volume }) {
			all = append(all, c)
		}
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		take(c)
	}
	for i := range p.Spec.EphemeralContainers {
		take(v1.Container(p.Spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	return all
}

// contextOption is the option that mounts with a label. The quotes are for the commas in labels.
func contextOption(label string) string { return `context="` + label + `"` }

// mountedWith is the label that a mount was made with; empty if with none.
func mountedWith(options string) string {
	for rest := options; rest != ""; {
		at := strings.Index(rest, "context=")
		if at < 0 {
			return ""
		}
		value := rest[at+len("context="):]
		if at > 0 && rest[at-1] != ',' { // fscontext=, rootcontext=
			rest = value
			continue
		}
		if quoted, ok := strings.CutPrefix(value, `"`); ok {
			label, _, _ := strings.Cut(quoted, `"`)
			return label
		}
		label, _, _ := strings.Cut(value, ",")
		return label
	}
	return ""
}

// relabelled sees to it that what is staged has the label that a pod wants. Staged with another one, it is taken back as long as no other
// pod has it, and otherwise this pod has to wait. The volume is locked.
func (k *csiKind) relabelled(ctx context.Context, r *request, d *driven, staged string) (done bool, err error) {
	if !k.selinux.labels(r, d) {
		return true, nil
	}
	has, err := k.selinux.mounted(staged)
	if err != nil || has == d.label {
		return err == nil, err
	}
	others, err := k.others(d.csiData, r.pod.UID)
	if err != nil {
		return false, err
	}
	if others {
		return false, fmt.Errorf("conflicting SELinux labels of volume %s: other pods of this node have it with %q, this one wants %q; it has to wait for their end",
			r.name(), has, d.label)
	}
	return false, d.driver.Unstage(ctx, d.VolumeHandle, staged)
}

// others tells whether a volume was published for another pod.
func (k *csiKind) others(d csiData, but types.UID) (bool, error) {
	uids, err := k.volumes.Pods()
	if err != nil {
		return false, err
	}
	for _, uid := range uids {
		if uid == but {
			continue
		}
		pod, err := k.volumes.openPod(uid)
		if err != nil {
			return false, err
		}
		if pod == nil {
			continue
		}
		has := hasVolume(pod, d)
		if err := pod.Close(); err != nil || has {
			return has, err
		}
	}
	return false, nil
}

func hasVolume(pod *safepath.Root, d csiData) bool {
	all, err := dataBelow(pod, "volumes/"+csiDir)
	return err != nil || slices.ContainsFunc(all, func(o csiData) bool { // what cannot be read may be it
		return o.key() == d.key() && hasBegun(place{pod: pod, kind: csiDir, name: o.SpecVolID})
	})
}
