package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/component-helpers/storage/ephemeral"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/safepath"
)

// Cluster is the API server as volumes of claims and drivers need it. The methods wait a moment for what is not known yet.
type Cluster interface {
	Claim(ctx context.Context, namespace, name string) (*v1.PersistentVolumeClaim, error)
	Volume(ctx context.Context, name string) (*v1.PersistentVolume, error)
	// Driver is what the cluster knows of a CSI driver, nil if it knows nothing.
	Driver(ctx context.Context, name string) (*storage.CSIDriver, error)
	Secret(ctx context.Context, namespace, name string) (*v1.Secret, error)
	// Token is a token of the pod's service account.
	Token(ctx context.Context, p *v1.Pod, t content.Token) (string, error)
	// Attachment reads the attachment of a volume, now.
	Attachment(ctx context.Context, name string) (*storage.VolumeAttachment, error)
	// Grown tells a claim that the node sees the size its volume was given.
	Grown(ctx context.Context, c *v1.PersistentVolumeClaim, size resource.Quantity) error
	// Node is the node's own object, nil while it is not known, and a channel that is closed when it changes.
	Node() (*v1.Node, <-chan struct{})
}

// groupAnnotation is a group that containers with the volume are in.
const groupAnnotation = "pv.beta.kubernetes.io/gid"

// claim finds the persistent volume behind a claim, and its kind (behaviours 173, 197).
func (v *Volumes) claim(ctx context.Context, r *request) (kind, error) {
	if err := v.readClaim(ctx, r); err != nil {
		return nil, unprocessed(r, err)
	}
	k := v.persistent(&r.pv.Spec)
	switch {
	case k == nil:
		source := sourceName(&r.pv.Spec.PersistentVolumeSource)
		return nil, &unsupported{field: r.field + "." + source, why: instead(source), works: worksClaimed}
	case v.setUpBefore(r, k): // what follows is about coming here; a pod that is here stays
		return k, nil
	}
	return k, v.mayCome(r)
}

// persistent is the kind of a persistent volume; nil if it is not supported.
func (v *Volumes) persistent(s *v1.PersistentVolumeSpec) kind {
	switch {
	case s.CSI != nil:
		return v.csi
	case s.HostPath != nil:
		return hostPath{}
	case s.Local != nil:
		return local{}
	case s.NFS != nil:
		return nfs{v.mountProgram}
	}
	return nil
}

// readClaim reads claim and volume, and sees that they belong together.
func (v *Volumes) readClaim(ctx context.Context, r *request) error {
	name := content.ClaimOf(r.pod, r.volume)
	claim, err := v.cluster.Claim(ctx, r.pod.Namespace, name)
	if err != nil {
		return fmt.Errorf("failed to fetch PVC from API server: %w", err)
	}
	if r.volume.Ephemeral != nil {
		if err := ephemeral.VolumeIsForPod(r.pod, claim); err != nil {
			return err
		}
	}
	if claim.Status.Phase != v1.ClaimBound || claim.Spec.VolumeName == "" {
		return errors.New("PVC is not bound")
	}
	pv, err := v.cluster.Volume(ctx, claim.Spec.VolumeName)
	if err != nil {
		return fmt.Errorf("failed to fetch PV %s from API server: %w", claim.Spec.VolumeName, err)
	}
	if of := pv.Spec.ClaimRef; of == nil || of.UID != claim.UID {
		return fmt.Errorf("PV %s is not bound to this claim but to another one", pv.Name)
	}
	if err := safepath.Component(pv.Name); err != nil {
		return fmt.Errorf("name of the PV: %w", err)
	}
	r.pv, r.claim = pv, claim
	r.readOnly = r.volume.PersistentVolumeClaim != nil && r.volume.PersistentVolumeClaim.ReadOnly
	r.field = "persistentvolume " + pv.Name + ": spec"
	return nil
}

// setUpBefore tells whether a volume has its directory in the pod already.
func (v *Volumes) setUpBefore(r *request, k kind) bool {
	pod, err := v.openPod(r.pod.UID)
	if err != nil || pod == nil {
		return false
	}
	defer pod.Close()
	p := place{pod: pod, kind: k.dir(), name: r.pv.Name}
	return k.dir() != "" && (isReady(p) || r.block() && hasBegun(p))
}

// mayCome tells why a volume may not come to this pod here.
func (v *Volumes) mayCome(r *request) error {
	if r.claim.DeletionTimestamp != nil {
		return unprocessed(r, errors.New("PVC is being deleted"))
	}
	if err := usedAs(r); err != nil {
		return unprocessed(r, err)
	}
	node, _ := v.cluster.Node()
	if r.pv.Spec.NodeAffinity == nil || r.pv.Spec.NodeAffinity.Required == nil || node == nil {
		return nil
	}
	if fits, err := nodeaffinity.NewLazyErrorNodeSelector(r.pv.Spec.NodeAffinity.Required).Match(node); err != nil || !fits {
		return failed(r, "MountVolume.NodeAffinity check", errors.Join(errors.New("no matching NodeSelectorTerms"), err))
	}
	return nil
}

// usedAs checks that the containers use a volume as what it is, a file system or a device.
func usedAs(r *request) error {
	var wrong error
	visit := func(c *v1.Container) {
		mounted := slices.ContainsFunc(c.VolumeMounts, func(m v1.VolumeMount) bool { return m.Name == r.volume.Name })
		device := slices.ContainsFunc(c.VolumeDevices, func(d v1.VolumeDevice) bool { return d.Name == r.volume.Name })
		switch {
		case mounted && r.block():
			wrong = fmt.Errorf("volume %s has volumeMode Block, but is specified in volumeMounts", r.volume.Name)
		case device && !r.block():
			wrong = fmt.Errorf("volume %s has volumeMode Filesystem, but is specified in volumeDevices", r.volume.Name)
		}
	}
	for i := range r.pod.Spec.InitContainers {
		visit(&r.pod.Spec.InitContainers[i])
	}
	for i := range r.pod.Spec.Containers {
		visit(&r.pod.Spec.Containers[i])
	}
	return wrong
}

// block tells that the volume is a device.
func (r *request) block() bool {
	return r.pv != nil && r.pv.Spec.VolumeMode != nil && *r.pv.Spec.VolumeMode == v1.PersistentVolumeBlock
}

// group is the group that the volume's containers are in.
func (r *request) group() *int64 {
	if r.pv == nil {
		return nil
	}
	gid, err := strconv.ParseInt(strings.TrimSpace(r.pv.Annotations[groupAnnotation]), 10, 64)
	if err != nil || gid < 0 {
		return nil
	}
	return &gid
}
