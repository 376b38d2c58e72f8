package translate

import (
	"cmp"
	"fmt"
	"path"
	"slices"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/environ"
)

const (
	hostsFile              = "/etc/hosts"
	defaultTerminationPath = "/dev/termination-log"
)

// mounts are what a container sees of the host: its volumes, the managed hosts file unless it mounts its own, the
// termination message file, and what device plugins add (behaviours 74, 82, 84, 85).
func mounts(p *v1.Pod, c *v1.Container, n *Node, in *Inputs) ([]*runtimeapi.Mount, error) {
	var out []*runtimeapi.Mount
	for i := range c.VolumeMounts {
		m, err := volumeMount(p, c, i, n, in)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	if in.HostsPath != "" && !slices.ContainsFunc(out, func(m *runtimeapi.Mount) bool { return m.ContainerPath == hostsFile }) {
		out = append(out, &runtimeapi.Mount{ContainerPath: hostsFile, HostPath: in.HostsPath, SelinuxRelabel: n.SELinux})
	}
	if in.TerminationPath != "" {
		out = append(out, &runtimeapi.Mount{
			ContainerPath: cmp.Or(c.TerminationMessagePath, defaultTerminationPath), HostPath: in.TerminationPath, SelinuxRelabel: n.SELinux,
		})
	}
	return append(out, in.Plugin.Mounts...), nil
}

func volumeMount(p *v1.Pod, c *v1.Container, i int, n *Node, in *Inputs) (*runtimeapi.Mount, error) {
	m := &c.VolumeMounts[i]
	v, ok := in.Volumes[m.Name]
	if !ok {
		return nil, configError(c, fmt.Errorf("volume mount %s: volume %q is not set up", m.MountPath, m.Name))
	}
	out := &runtimeapi.Mount{
		ContainerPath:  path.Clean("/" + m.MountPath),
		HostPath:       v.HostPath,
		Readonly:       m.ReadOnly || v.ReadOnly,
		SelinuxRelabel: v.Relabel && n.SELinux,
		MountOptions:   m.BindMountOptions,
	}
	if len(m.BindMountOptions) > 0 && !n.MountOptions {
		return nil, configError(c, fmt.Errorf("volume mount %s: bindMountOptions are not supported by the container runtime", m.MountPath))
	}
	if err := placeSubPath(c, i, v, in, out); err != nil {
		return nil, err
	}
	if v.Image == nil {
		out.UidMappings, out.GidMappings = idMappings(p, in.PodInputs), idMappings(p, in.PodInputs)
	}
	var err error
	if out.Propagation, err = propagation(c, m); err != nil {
		return nil, err
	}
	out.RecursiveReadOnly, err = recursive(c, m, out, n.Handlers[in.Handler], in.Handler)
	return out, err
}

// placeSubPath makes the mount show a part of the volume only, if it asks for that.
func placeSubPath(c *v1.Container, i int, v Volume, in *Inputs, out *runtimeapi.Mount) error {
	m := &c.VolumeMounts[i]
	sub, err := environ.SubPath(m, in.Env)
	switch {
	case err != nil:
		return configError(c, err)
	case v.Image != nil:
		out.Image, out.ImageSubPath, out.HostPath, out.Readonly = v.Image, sub, "", true
		return nil
	case sub == "":
		return nil
	}
	host, ok := in.SubPaths[i]
	if !ok { // never fall back to the whole volume
		return configError(c, fmt.Errorf("volume mount %s: subPath of volume %q is not set up", m.MountPath, m.Name))
	}
	out.HostPath = host
	return nil
}

func propagation(c *v1.Container, m *v1.VolumeMount) (runtimeapi.MountPropagation, error) {
	if m.MountPropagation == nil {
		return runtimeapi.MountPropagation_PROPAGATION_PRIVATE, nil
	}
	switch *m.MountPropagation {
	case v1.MountPropagationNone:
		return runtimeapi.MountPropagation_PROPAGATION_PRIVATE, nil
	case v1.MountPropagationHostToContainer:
		return runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER, nil
	case v1.MountPropagationBidirectional:
		return runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL, nil
	}
	return 0, configError(c, fmt.Errorf("volume mount %s: mountPropagation: invalid value %q: must be None, HostToContainer or Bidirectional", m.MountPath, *m.MountPropagation))
}

// recursive tells whether mounts below the volume are to be read-only, too.
func recursive(c *v1.Container, m *v1.VolumeMount, out *runtimeapi.Mount, h Handler, handler string) (bool, error) {
	if m.RecursiveReadOnly == nil || *m.RecursiveReadOnly == v1.RecursiveReadOnlyDisabled {
		return false, nil
	}
	possible := h.RecursiveReadOnly && m.ReadOnly && out.Propagation == runtimeapi.MountPropagation_PROPAGATION_PRIVATE
	refuse := func(why string) error {
		return configError(c, fmt.Errorf("volume mount %s: recursiveReadOnly is %s, but %s", m.MountPath, *m.RecursiveReadOnly, why))
	}
	switch {
	case *m.RecursiveReadOnly == v1.RecursiveReadOnlyIfPossible:
		return possible, nil
	case *m.RecursiveReadOnly != v1.RecursiveReadOnlyEnabled:
		return false, refuse("must be Disabled, IfPossible or Enabled")
	case possible:
		return true, nil
	case !m.ReadOnly:
		return false, refuse("the mount is not readOnly")
	case out.Propagation != runtimeapi.MountPropagation_PROPAGATION_PRIVATE:
		return false, refuse("mountPropagation is not None")
	}
	return false, refuse(fmt.Sprintf("runtime handler %q does not support recursive read-only mounts", handler))
}

// devices are the container's block volumes and what device plugins give it (behaviour 86).
func devices(c *v1.Container, in *Inputs) ([]*runtimeapi.Device, error) {
	var out []*runtimeapi.Device
	for _, vd := range c.VolumeDevices {
		b, ok := in.BlockDevices[vd.Name]
		if !ok {
			return nil, configError(c, fmt.Errorf("volume device %s: volume %q is not set up", vd.DevicePath, vd.Name))
		}
		permissions := "mrw"
		if b.ReadOnly {
			permissions = "r"
		}
		out = append(out, &runtimeapi.Device{ContainerPath: vd.DevicePath, HostPath: b.HostPath, Permissions: permissions})
	}
	return append(out, in.Plugin.Devices...), nil
}
