package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/testbed"
	"github.com/bosun-project/bosun/internal/testbed/controlplane"
	"github.com/bosun-project/bosun/internal/testbed/csidriver"
)

// csiDriver runs a driver on the node, and tells the cluster what it is like.
func (m *member) csiDriver(t *testing.T, o csidriver.Options, spec storage.CSIDriverSpec) *csidriver.Driver {
	t.Helper()
	o.Plugins = filepath.Join(m.root, "plugins_registry")
	object := &storage.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: o.Name}, Spec: spec}
	if _, err := m.api.StorageV1().CSIDrivers().Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	d := csidriver.Start(t, o)
	t.Cleanup(func() {
		if err := m.api.StorageV1().CSIDrivers().Delete(context.Background(), o.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	eventually(t, func() error {
		n, err := m.api.StorageV1().CSINodes().Get(t.Context(), m.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(n.Spec.Drivers, func(x storage.CSINodeDriver) bool { return x.Name == o.Name && x.NodeID == d.NodeID }) {
			return fmt.Errorf("CSINode has the drivers %+v", n.Spec.Drivers)
		}
		return nil
	})
	return d
}

// claimed makes a volume of a driver by hand, and a claim of that name that is bound to it.
func (m *member) claimed(t *testing.T, ns, name, driver string, change func(*v1.PersistentVolume)) {
	t.Helper()
	none := ""
	pv := m.volumeFor(t, ns, name, driver, change)
	claim := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1.PersistentVolumeClaimSpec{
		AccessModes: pv.Spec.AccessModes, VolumeName: pv.Name, StorageClassName: &none, VolumeMode: pv.Spec.VolumeMode,
		Resources: v1.VolumeResourceRequirements{Requests: pv.Spec.Capacity},
	}}
	if _, err := m.api.CoreV1().PersistentVolumeClaims(ns).Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

const claimingSpec = `
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: app, image: SHELL, volumeMounts: [{name: data, mountPath: /data}],
     command: [sh, -c, 'cat /data/f; echo $HOSTNAME >> /data/f; echo written; sleep 3600']}
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
`

// A pod of a claim gets its volume from the driver, and the next pod of that claim finds what it wrote (behaviours 173, 184, 288).
func TestVolumesOfClaims(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	never := false
	const name = "plain.csi.test"
	d := m.csiDriver(t, csidriver.Options{Name: name, MostVolumes: 5, Topology: map[string]string{"topology.csi.test/zone": "z1"}}, storage.CSIDriverSpec{AttachRequired: &never})
	m.claimed(t, ns, "data", name, nil)

	first := m.create(t, ns, "csi-0", claimingSpec)
	first.untilSays("app", "written")
	text, err := os.ReadFile(filepath.Join(d.Data("h-data"), "f"))
	if err != nil || string(text) != "csi-0\n" {
		t.Errorf("the volume holds %q, %v", text, err)
	}
	eventually(t, func() error { return m.knowsDriver(t, name, d.NodeID) })
	first.remove()
	first.untilGone()
	d.Await(t, "NodeUnstageVolume", 1)
	same(t, "calls", strings.Join(d.Succeeded(), " "), "NodeStageVolume NodePublishVolume NodeUnpublishVolume NodeUnstageVolume")

	second := m.create(t, ns, "csi-0", claimingSpec) // as a StatefulSet does
	second.untilSays("app", "csi-0", "written")
	d.Stop(t)
	eventually(t, func() error {
		if err := m.knowsDriver(t, name, d.NodeID); err == nil {
			return errors.New("the cluster still believes in the driver")
		}
		return nil
	})
	d.Start(t)
	second.remove()
	second.untilGone()
	d.Await(t, "NodeUnstageVolume", 2)
}

// knowsDriver tells what is wrong unless the cluster has been told of a driver.
func (m *member) knowsDriver(t *testing.T, name, id string) error {
	n, err := m.api.StorageV1().CSINodes().Get(t.Context(), m.name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(n.Spec.Drivers, func(d storage.CSINodeDriver) bool { return d.Name == name })
	if i < 0 {
		return fmt.Errorf("CSINode lacks the driver: %+v", n.Spec.Drivers)
	}
	if d := n.Spec.Drivers[i]; d.NodeID != id || !slices.Equal(d.TopologyKeys, []string{"topology.csi.test/zone"}) || d.Allocatable == nil || *d.Allocatable.Count != 5 {
		return fmt.Errorf("CSINode has %+v", d)
	}
	node, err := m.api.CoreV1().Nodes().Get(t.Context(), m.name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	ids := map[string]string{}
	if err := json.Unmarshal([]byte(node.Annotations["csi.volume.kubernetes.io/nodeid"]), &ids); err != nil || ids[name] != id {
		return fmt.Errorf("annotations %v, %w", node.Annotations, err)
	}
	if node.Labels["topology.csi.test/zone"] != "z1" {
		return fmt.Errorf("labels %v", node.Labels)
	}
	return nil
}

// attachAll does what the driver's attacher does beside the controller: it attaches what it is asked to.
func attachAll(t *testing.T, m *member, driver string) *storage.VolumeAttachment {
	t.Helper()
	var found *storage.VolumeAttachment
	eventually(t, func() error {
		list, err := m.api.StorageV1().VolumeAttachments().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if a := &list.Items[i]; a.Spec.Attacher == driver && a.Spec.NodeName == m.name {
				found = a
				return nil
			}
		}
		return errors.New("the controller has asked for no attachment yet")
	})
	found.Status.Attached, found.Status.AttachmentMetadata = true, map[string]string{"lun": "7"}
	if _, err := m.api.StorageV1().VolumeAttachments().UpdateStatus(t.Context(), found, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return found
}

// A volume that has to be attached is waited for, the agent is killed at several moments, and the volume is taken from the node only
// when it is not in use there any more (behaviours 174, 193).
func TestAttachedVolumesOverCrashes(t *testing.T) {
	t.Parallel()
	plane := controlplane.Shared(t)
	x := plane.StartProxy(t)
	m := quietMemberOn(t, testbed.Options{Images: []string{"busybox"}}, plane, "")
	kubeconfig, err := x.NodeKubeconfig(m.name)
	if err != nil {
		t.Fatal(err)
	}
	m.set("kubeconfig", kubeconfig)
	m.start(t)
	m.untilReady(t)
	ns := m.plane.Namespace(t)
	always := true
	const name = "attached.csi.test"
	d := m.csiDriver(t, csidriver.Options{Name: name}, storage.CSIDriverSpec{AttachRequired: &always})
	m.claimed(t, ns, "data", name, nil)
	g := m.create(t, ns, "csi-attached", claimingSpec)
	const unique = "kubernetes.io/csi/" + name + "^h-data"
	g.untilInUse(unique, true)
	eventually(t, func() error {
		text, err := m.bosun(t, "explain", g.name)
		if err != nil {
			return err
		}
		return containsAll(text, "attachment of volume data", "the volume is not attached to this node")
	})
	m.kill(t)
	if len(d.Calls("NodeStageVolume")) > 0 {
		t.Error("the volume was staged before it was attached")
	}
	a := attachAll(t, m, name)
	release := d.Hang("NodeStageVolume")
	m.start(t)
	eventually(t, func() error { // it is in the middle of staging
		if _, err := os.Stat(filepath.Join(m.root, "plugins/kubernetes.io/csi", name)); err != nil {
			return err
		}
		return nil
	})
	m.kill(t)
	release()
	m.start(t)
	g.untilSays("app", "written")
	r, _ := d.Calls("NodePublishVolume")[0].Request.(*pb.NodePublishVolumeRequest)
	same(t, "publish context", r.GetPublishContext()["lun"], "7")
	p := g.untilReady()

	m.restart(t)
	m.untilReady(t)
	if now := g.untilReady(); apiStatus(now, "app").ContainerID != apiStatus(p, "app").ContainerID {
		t.Error("the container was started again")
	}
	m.kill(t) // a container that ends while the API server is away starts again with its volume
	x.Inject(controlplane.Fault{Status: 503})
	m.start(t)
	_, id, _ := strings.Cut(apiStatus(p, "app").ContainerID, "://")
	if _, err := m.runtime.StopContainer(t.Context(), &runtimeapi.StopContainerRequest{ContainerId: id}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return containsAll(g.says("app", 1), "csi-attached", "written") })
	x.Heal()
	m.untilReady(t)
	release = d.Hang("NodeUnpublishVolume")
	g.remove()
	d.Await(t, "NodePublishVolume", 1)
	m.kill(t)
	release()
	m.start(t)
	g.untilGone()
	d.Await(t, "NodeUnstageVolume", 1)
	g.untilInUse(unique, false)
	eventually(t, func() error { // the controller takes it away
		_, err := m.api.StorageV1().VolumeAttachments().Get(t.Context(), a.Name, metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the volume is still attached: %w", err)
		}
		return nil
	})
}

// untilInUse waits until the node says, or does not say, that a volume is in use.
func (g *guest) untilInUse(volume v1.UniqueVolumeName, want bool) {
	g.t.Helper()
	eventually(g.t, func() error {
		n, err := g.api.CoreV1().Nodes().Get(g.t.Context(), g.member.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if slices.Contains(n.Status.VolumesInUse, volume) != want {
			return fmt.Errorf("volumes in use: %v", n.Status.VolumesInUse)
		}
		return nil
	})
}

// One pod with a volume written into it, one of a claim that is made for it, a device, and one that has to grow (behaviours 184, 185, 187, 197).
func TestOtherVolumesOfDrivers(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	never, info, file := false, true, storage.FileFSGroupPolicy
	const name = "more.csi.test"
	d := m.csiDriver(t, csidriver.Options{Name: name, Expand: true}, storage.CSIDriverSpec{
		AttachRequired: &never, PodInfoOnMount: &info, FSGroupPolicy: &file,
		VolumeLifecycleModes: []storage.VolumeLifecycleMode{storage.VolumeLifecyclePersistent, storage.VolumeLifecycleEphemeral},
		TokenRequests:        []storage.TokenRequest{{Audience: "vault"}},
	})
	disk := filepath.Join(t.TempDir(), "disk")
	if err := syscall.Mknod(disk, syscall.S_IFBLK|0o600, 7<<8); err != nil {
		t.Fatal(err)
	}
	block := v1.PersistentVolumeBlock
	m.claimed(t, ns, "disk", name, func(pv *v1.PersistentVolume) {
		pv.Spec.VolumeMode, pv.Spec.CSI.VolumeAttributes = &block, map[string]string{"device": disk}
	})
	m.claimed(t, ns, "grows", name, func(pv *v1.PersistentVolume) {
		pv.Spec.CSI.NodePublishSecretRef = &v1.SecretReference{Namespace: ns, Name: "login"}
	})
	m.apply(t, ns, "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {user: robot}\n")
	m.volumeFor(t, ns, "csi-more-own", name, nil)
	claims := m.api.CoreV1().PersistentVolumeClaims(ns)
	eventually(t, func() error { // the claim has what its volume had when they were bound
		c, err := claims.Get(t.Context(), "grows", metav1.GetOptions{})
		if err == nil && c.Status.Phase != v1.ClaimBound {
			err = fmt.Errorf("the claim is %s", c.Status.Phase)
		}
		return err
	})
	patch := []byte(`{"spec":{"capacity":{"storage":"2Gi"}}}`)
	if _, err := m.api.CoreV1().PersistentVolumes().Patch(t.Context(), ns+"-grows", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}

	g := m.create(t, ns, "csi-more", fmt.Sprintf(`
spec:
  securityContext: {fsGroup: 4321}
  containers:
  - {name: app, image: SHELL, command: [sh, -c, 'test -b /dev/disk && echo device; stat -c %%g /inline /own /grows; echo done; sleep 3600'],
     volumeMounts: [{name: inline, mountPath: /inline}, {name: own, mountPath: /own}, {name: grows, mountPath: /grows, subPath: a/b}],
     volumeDevices: [{name: disk, devicePath: /dev/disk}]}
  volumes:
  - {name: inline, csi: {driver: %[1]s, volumeAttributes: {size: small}}}
  - {name: own, ephemeral: {volumeClaimTemplate: {spec: {volumeName: %[2]s-csi-more-own, storageClassName: "", accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}
  - {name: grows, persistentVolumeClaim: {claimName: grows}}
  - {name: disk, persistentVolumeClaim: {claimName: disk}}
`, name, ns))
	g.untilSays("app", "device", "4321\n4321\n4321\ndone")
	g.untilEvents(fmt.Sprintf("SuccessfulMountVolume: MapVolume.MapPodDevice succeeded for volume %q globalMapPath ", ns+"-disk"), " volumeMapPath ")
	eventually(t, func() error {
		c, err := claims.Get(t.Context(), "grows", metav1.GetOptions{})
		if size := c.Status.Capacity[v1.ResourceStorage]; err == nil && size.String() != "2Gi" {
			err = fmt.Errorf("the claim has %s", size.String())
		}
		return err
	})
	for _, c := range d.Calls("NodePublishVolume") {
		r, _ := c.Request.(*pb.NodePublishVolumeRequest)
		if r.VolumeContext["csi.storage.k8s.io/pod.name"] != "csi-more" || !strings.Contains(r.VolumeContext["csi.storage.k8s.io/serviceAccount.tokens"], `"vault"`) {
			t.Errorf("volume %s was published with %v", r.VolumeId, r.VolumeContext)
		}
		if r.VolumeId == "h-grows" && r.Secrets["user"] != "robot" {
			t.Errorf("volume %s was published with the secrets %v", r.VolumeId, r.Secrets)
		}
	}
	g.remove()
	g.untilGone()
	d.Await(t, "NodeUnstageVolume", 3)
	if text := m.said(); strings.Contains(text, "serviceAccount.tokens") {
		t.Error("the log has tokens")
	}
}

// volumeFor makes a volume of a driver for a claim.
func (m *member) volumeFor(t *testing.T, ns, claim, driver string, change func(*v1.PersistentVolume)) *v1.PersistentVolume {
	t.Helper()
	pv := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: ns + "-" + claim}, Spec: v1.PersistentVolumeSpec{
		Capacity: v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}, AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce},
		PersistentVolumeReclaimPolicy: v1.PersistentVolumeReclaimRetain, ClaimRef: &v1.ObjectReference{Namespace: ns, Name: claim},
		PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{Driver: driver, VolumeHandle: "h-" + claim}},
	}}
	if change != nil {
		change(pv)
	}
	if _, err := m.api.CoreV1().PersistentVolumes().Create(t.Context(), pv, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.api.CoreV1().PersistentVolumes().Delete(context.Background(), pv.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return pv
}
