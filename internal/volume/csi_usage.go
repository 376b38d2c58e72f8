package volume

import (
	"context"
	"fmt"
	"path/filepath"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/csi"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/safepath"
)

// DriverUsage asks the CSI driver of a pod's volume how full it is (behaviour 196). name is that of the volume's directory: the
// persistent volume's, or the volume's own where it lives with the pod. What a driver cannot tell is fault.ErrUnsupported.
func (v *Volumes) DriverUsage(ctx context.Context, uid types.UID, name string) (csi.Usage, error) {
	if err := safepath.Component(name); err != nil {
		return csi.Usage{}, err
	}
	pod, err := v.openPod(uid)
	if err != nil || pod == nil {
		return csi.Usage{}, err
	}
	defer pod.Close()
	p := place{pod: pod, kind: csiDir, name: name}
	d, ok, err := readData(pod, p.path())
	if err != nil || !ok {
		return csi.Usage{}, err
	}
	driver, err := v.csi.drivers.Driver(d.DriverName)
	if err != nil {
		return csi.Usage{}, err
	}
	if !driver.Can.Stats {
		return csi.Usage{}, fmt.Errorf("driver %s does not tell how full volumes are: %w", d.DriverName, fault.ErrUnsupported)
	}
	staged := ""
	if driver.Can.Stage && d.Lifecycle == persistently {
		staged = filepath.Join(v.root, stagingDir(d), csiStaging)
	}
	return driver.Stats(ctx, d.VolumeHandle, staged, filepath.Join(p.host(), csiMount))
}
