package volume_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/csi"
	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/mount"
	"github.com/bosun-project/bosun/internal/testbed/csidriver"
	"github.com/bosun-project/bosun/internal/translate"
	"github.com/bosun-project/bosun/internal/volume"
)

const driverName = "dirs.example.com"

// attachmentName is csi- and the SHA-256 of volume, driver and node.
const attachmentName = "csi-499231f06f8edc4e23035618a8586e47557b75dfa25295680be1afe32b9ebe52"

// apiServer is an API server in memory.
type apiServer struct {
	mu          sync.Mutex
	claims      map[string]*v1.PersistentVolumeClaim
	volumes     map[string]*v1.PersistentVolume
	object      *storage.CSIDriver
	secrets     map[string]*v1.Secret
	attachments map[string]*storage.VolumeAttachment
	grown       []string
	node        latest.Cell[*v1.Node]
}

func missing(what string) error { return fault.As(fault.ErrNotFound, errors.New(what+" not found")) }

func (s *apiServer) Claim(_ context.Context, _, name string) (*v1.PersistentVolumeClaim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.claims[name]; c != nil {
		return c, nil
	}
	return nil, missing("persistentvolumeclaim \"" + name + "\"")
}

func (s *apiServer) Volume(_ context.Context, name string) (*v1.PersistentVolume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.volumes[name]; v != nil {
		return v, nil
	}
	return nil, missing("persistentvolume \"" + name + "\"")
}

func (s *apiServer) Driver(context.Context, string) (*storage.CSIDriver, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.object, nil
}

func (s *apiServer) Secret(_ context.Context, ns, name string) (*v1.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.secrets[ns+"/"+name]; x != nil {
		return x, nil
	}
	return nil, &environ.Missing{Kind: environ.Secret, Namespace: ns, Name: name}
}

func (s *apiServer) Token(_ context.Context, _ *v1.Pod, t content.Token) (string, error) {
	return "head." + "eyJleHAiOjE3MDAwMDAwMDB9" + "." + t.Account + "-" + t.Audience, nil
}

func (s *apiServer) Attachment(_ context.Context, name string) (*storage.VolumeAttachment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.attachments[name]; a != nil {
		return a, nil
	}
	return nil, missing("volumeattachment")
}

func (s *apiServer) Grown(_ context.Context, c *v1.PersistentVolumeClaim, size resource.Quantity) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grown = append(s.grown, c.Name+"="+size.String())
	return nil
}

func (s *apiServer) Node() (*v1.Node, <-chan struct{}) { return s.node.Get() }

// csiBed is a root with a driver and an API server with a claim "data" of its volume "pv".
type csiBed struct {
	t      *testing.T
	root   string
	api    *apiServer
	driver *csidriver.Driver
	v      *volume.Volumes
	cfg    volume.Config
}

func newCSIBed(t *testing.T, o csidriver.Options) *csiBed {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	o.Name = driverName
	b := &csiBed{t: t, root: t.TempDir(), driver: csidriver.Start(t, o)}
	never := false
	b.api = &apiServer{
		claims:  map[string]*v1.PersistentVolumeClaim{"data": boundClaim("data", "pv")},
		volumes: map[string]*v1.PersistentVolume{"pv": csiVolume("pv", "h1")},
		object:  &storage.CSIDriver{Spec: storage.CSIDriverSpec{AttachRequired: &never}},
		secrets: map[string]*v1.Secret{}, attachments: map[string]*storage.VolumeAttachment{},
	}
	drivers := csi.NewRegistry(time.Minute)
	if err := drivers.Register(t.Context(), driverName, b.driver.Socket, nil); err != nil {
		t.Fatal(err)
	}
	b.cfg = volume.Config{RootDir: b.root, NodeName: "node", Cluster: b.api, Drivers: drivers, DriverWait: 50 * time.Millisecond,
		Content: func(context.Context, *v1.Pod, *v1.Volume) (content.Files, error) { return nil, nil }}
	b.again()
	t.Cleanup(func() {
		uids, err := b.v.Pods()
		for _, uid := range uids {
			err = errors.Join(err, b.v.TearDown(context.Background(), uid), b.v.RemovePodDir(context.Background(), uid))
		}
		b.unstage()
		if err = errors.Join(err, drivers.Close()); err != nil {
			t.Error(err)
		}
		if left := mountsBelow(t, b.root); len(left) > 0 {
			t.Errorf("mounts left: %v", left)
		}
	})
	return b
}

// again is what a new process has.
func (b *csiBed) again() { b.v = volume.New(b.cfg) }

func boundClaim(name, pv string) *v1.PersistentVolumeClaim {
	c := &v1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid of " + name)}}
	c.Spec.VolumeName, c.Status.Phase = pv, v1.ClaimBound
	return c
}

func csiVolume(name, handle string) *v1.PersistentVolume {
	pv := &v1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: name}}
	pv.Spec.ClaimRef = &v1.ObjectReference{UID: "uid of data"}
	pv.Spec.AccessModes = []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}
	pv.Spec.CSI = &v1.CSIPersistentVolumeSource{Driver: driverName, VolumeHandle: handle, VolumeAttributes: map[string]string{"a": "b"}}
	return pv
}

func claimingPod(uid string) *v1.Pod {
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-" + uid, UID: types.UID(uid)}}
	p.Spec.ServiceAccountName = "robot"
	p.Spec.Containers = []v1.Container{{Name: "app", VolumeMounts: []v1.VolumeMount{{Name: "v", MountPath: "/v"}}}}
	p.Spec.Volumes = []v1.Volume{{Name: "v", VolumeSource: v1.VolumeSource{
		PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
	return p
}

func (b *csiBed) setup(p *v1.Pod) translate.Volume {
	b.t.Helper()
	at, err := b.v.Setup(b.t.Context(), p, "v")
	if err != nil {
		b.t.Fatal(err)
	}
	return at
}

func (b *csiBed) teardown(uid types.UID) {
	b.t.Helper()
	if err := b.v.TearDown(b.t.Context(), uid); err != nil {
		b.t.Fatal(err)
	}
}

// unstage takes all volumes from the node that no pod uses, and returns how many there were.
func (b *csiBed) unstage() int {
	b.t.Helper()
	all, err := b.v.Orphans()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, s := range all {
		if err := b.v.Unstage(context.Background(), s); err != nil {
			b.t.Fatal(err)
		}
	}
	return len(all)
}

func (b *csiBed) called(want ...string) {
	b.t.Helper()
	if got := b.driver.Succeeded(); !slices.Equal(got, want) {
		b.t.Errorf("the driver was called %v, want %v", got, want)
	}
}

const (
	stage, publish, unpublish, unstage = "NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"
)

func TestCSIVolumeComesAndGoes(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	p := claimingPod("u1")
	at := b.setup(p)
	want := filepath.Join(b.root, "pods/u1/volumes/kubernetes.io~csi/pv/mount")
	if at.HostPath != want || at.ReadOnly {
		t.Errorf("it is at %+v, want %s", at, want)
	}
	if err := os.WriteFile(filepath.Join(at.HostPath, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(b.driver.Data("h1"), "f")); err != nil {
		t.Error(err)
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(want), "vol_data.json"))
	if err != nil {
		t.Fatal(err)
	}
	const noted = `{"attachmentID":"` + attachmentName + `","driverName":"dirs.example.com","nodeName":"node","specVolID":"pv","volumeHandle":"h1","volumeLifecycleMode":"Persistent"}`
	if string(text) != noted {
		t.Errorf("vol_data.json is %s", text)
	}
	r, _ := b.driver.Calls(stage)[0].Request.(*pb.NodeStageVolumeRequest)
	if want := filepath.Join(b.root, "plugins/kubernetes.io/csi", driverName, "33112ee14ee469c3eb52fe90322ec81dd404a0093d565a6d71ce77cbc8124e3b/globalmount"); r.StagingTargetPath != want {
		t.Errorf("staged at %s", r.StagingTargetPath)
	}
	b.setup(p)
	b.again()
	b.setup(p) // as after a restart
	second := claimingPod("u2")
	b.setup(second)
	b.called(stage, publish, publish)
	b.teardown("u1")
	if n := b.unstage(); n != 0 {
		t.Error("a volume that another pod uses was unstaged")
	}
	b.teardown("u2")
	b.again()
	if n := b.unstage(); n != 1 {
		t.Errorf("%d volumes to unstage, want 1", n)
	}
	b.called(stage, publish, publish, unpublish, unpublish, unstage)
	b.teardown("u1")
	if err := b.v.RemovePodDir(t.Context(), "u1"); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(b.root, "plugins/kubernetes.io/csi", driverName, "*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(filepath.Join(b.driver.Data("h1"), "f")); err != nil {
		t.Error("the data has gone with the pod")
	}
}

// A crash between any two calls: the calls of one life fail from one on, and the next life does what is left.
func TestCSIVolumeAfterACrashAnywhere(t *testing.T) {
	lives := map[string][]string{stage: {}, publish: {stage}, unpublish: {stage, publish}, unstage: {stage, publish, unpublish}}
	for cut, before := range lives {
		for _, done := range []bool{false, true} { // whether the call that is cut has had its effect
			t.Run(cut, func(t *testing.T) {
				b := newCSIBed(t, csidriver.Options{})
				ctx, crash := context.WithCancel(t.Context())
				failing := func() {
					if done {
						release := b.driver.Hang(cut)
						go func() { crash(); release() }()
						return
					}
					b.driver.Fail(cut, status.Error(codes.Internal, "cut"))
				}
				failing()
				_, err := b.v.Setup(ctx, claimingPod("u"), "v")
				if err == nil {
					_ = b.v.TearDown(ctx, "u")
					if all, _ := b.v.Orphans(); len(all) > 0 {
						_ = b.v.Unstage(ctx, all[0])
					}
				}
				b.driver.Fail(cut, nil)
				if got := b.driver.Succeeded(); !done && !slices.Equal(got, before) {
					t.Fatalf("before the crash: %v, want %v", got, before)
				}
				b.again()
				b.teardown("u")
				b.unstage()
				if left := mountsBelow(t, b.root); len(left) > 0 {
					t.Errorf("mounts left: %v", left)
				}
				if err := b.v.RemovePodDir(t.Context(), "u"); err != nil {
					t.Error(err)
				}
				if all, err := b.v.Orphans(); err != nil || len(all) > 0 {
					t.Errorf("staged: %v, %v", all, err)
				}
			})
		}
	}
}

func TestCSIVolumeThatWasNeverPublishedNeedsNoDriver(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	b.api.volumes["pv"].Spec.CSI.Driver = "other.example.com"
	_, err := b.v.Setup(t.Context(), claimingPod("u"), "v")
	if err == nil || !strings.Contains(err.Error(), "driver name other.example.com not found in the list of registered CSI drivers") {
		t.Errorf("error %v", err)
	}
	b.teardown("u")
}

func TestClaimErrors(t *testing.T) {
	now := metav1.Now()
	block := v1.PersistentVolumeBlock
	for want, spoil := range map[string]func(*apiServer){
		`error processing PVC shop/data: failed to fetch PVC from API server: persistentvolumeclaim "data" not found`: func(s *apiServer) {
			delete(s.claims, "data")
		},
		"error processing PVC shop/data: PVC is not bound":       func(s *apiServer) { s.claims["data"].Status.Phase = v1.ClaimPending },
		"error processing PVC shop/data: PVC is being deleted":   func(s *apiServer) { s.claims["data"].DeletionTimestamp = &now },
		"PV pv is not bound to this claim but to another one":    func(s *apiServer) { s.volumes["pv"].Spec.ClaimRef.UID = "other" },
		"has volumeMode Block, but is specified in volumeMounts": func(s *apiServer) { s.volumes["pv"].Spec.VolumeMode = &block },
		"persistentvolume pv: spec.iscsi is not supported": func(s *apiServer) {
			s.volumes["pv"].Spec.CSI, s.volumes["pv"].Spec.ISCSI = nil, &v1.ISCSIPersistentVolumeSource{}
		},
		`check failed for volume "pv" : no matching NodeSelectorTe`: func(s *apiServer) {
			s.node.Set(&v1.Node{})
			s.volumes["pv"].Spec.NodeAffinity = &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
				MatchExpressions: []v1.NodeSelectorRequirement{{Key: "zone", Operator: v1.NodeSelectorOpIn, Values: []string{"a"}}},
			}}}}
		},
	} {
		b := newCSIBed(t, csidriver.Options{})
		spoil(b.api)
		if _, err := b.v.Setup(t.Context(), claimingPod("u"), "v"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
		b.called()
	}
}

// A volume is staged when the controller has attached it, and the controller hears before that it is in use.
func TestCSIVolumeWaitsForItsAttachment(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	b.api.object = nil // it is to be attached then
	const unique = "kubernetes.io/csi/dirs.example.com^h1"
	go func() {
		for {
			used, newer := b.v.InUse().Get()
			if slices.Contains(used, unique) {
				break
			}
			select {
			case <-newer:
			case <-t.Context().Done():
				return
			}
		}
		b.api.mu.Lock()
		a := &storage.VolumeAttachment{Status: storage.VolumeAttachmentStatus{Attached: true, AttachmentMetadata: map[string]string{"lun": "7"}}}
		b.api.attachments[attachmentName] = a
		b.api.mu.Unlock()
		b.api.node.Set(&v1.Node{Status: v1.NodeStatus{VolumesInUse: []v1.UniqueVolumeName{unique}}})
		b.api.node.Set(&v1.Node{Status: v1.NodeStatus{VolumesInUse: []v1.UniqueVolumeName{unique}, VolumesAttached: []v1.AttachedVolume{{Name: unique}}}})
	}()
	b.setup(claimingPod("u"))
	r, _ := b.driver.Calls(publish)[0].Request.(*pb.NodePublishVolumeRequest)
	if r.PublishContext["lun"] != "7" {
		t.Errorf("published with %v", r.PublishContext)
	}
	b.teardown("u")
	if used := b.v.InUse().Value(); !slices.Contains(used, unique) {
		t.Errorf("in use while staged: %v", used)
	}
	b.unstage()
	if used := b.v.InUse().Value(); len(used) > 0 {
		t.Errorf("in use at the end: %v", used)
	}
}

func TestCSIVolumeThatIsNotAttached(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	b.api.object = nil
	b.cfg.AttachWait = 50 * time.Millisecond
	b.again()
	b.api.attachments[attachmentName] = &storage.VolumeAttachment{
		Status: storage.VolumeAttachmentStatus{AttachError: &storage.VolumeError{Message: "no more slots"}},
	}
	b.api.node.Set(&v1.Node{})
	_, err := b.v.Setup(t.Context(), claimingPod("u"), "v")
	const want = "Unable to attach or mount volumes: unmounted volumes=[v], unattached volumes=[v], failed to process volumes=[]: timed out waiting for the condition"
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "no more slots") || !errors.Is(err, fault.ErrTimeout) {
		t.Errorf("error %v", err)
	}
	b.teardown("u")
	if used := b.v.InUse().Value(); len(used) > 0 {
		t.Errorf("in use: %v", used)
	}
}

// A node that the controller leaves alone says at once that nobody attaches, unless somebody has.
func TestCSIVolumeOfAnUnmanagedNode(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	b.api.object = nil
	b.cfg.Unmanaged = true
	b.again()
	_, err := b.v.Setup(t.Context(), claimingPod("u"), "v")
	var told *translate.ConfigError
	if !errors.As(err, &told) || told.Reason != "FailedAttachVolume" || !strings.Contains(told.Message, "set enableControllerAttachDetach: true") {
		t.Errorf("error %v", err)
	}
	b.api.attachments[attachmentName] = &storage.VolumeAttachment{Status: storage.VolumeAttachmentStatus{Attached: true, AttachmentMetadata: map[string]string{"disk": "7"}}}
	b.setup(claimingPod("u"))
	if r, _ := b.driver.Calls(stage)[0].Request.(*pb.NodeStageVolumeRequest); r.PublishContext["disk"] != "7" {
		t.Errorf("staged with %v", r.PublishContext)
	}
}

// mountsBelow lists what is mounted below a directory.
func mountsBelow(t *testing.T, dir string) []string {
	t.Helper()
	table, err := mount.Read()
	if err != nil {
		t.Fatal(err)
	}
	var points []string
	for _, m := range table.Under(dir) {
		points = append(points, m.Point)
	}
	return points
}

// untilGone waits until a path is gone.
func untilGone(t *testing.T, path string) {
	t.Helper()
	late := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s is still there", path)
		}
	}
}

// A node that has as many volumes as its driver can attach says so at once, and asks the driver anew how many that are (behaviour 45).
func TestCSIVolumeBeyondTheLimit(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{MostVolumes: 3})
	b.api.object = nil
	full := int32(codes.ResourceExhausted)
	b.api.attachments[attachmentName] = &storage.VolumeAttachment{
		Status: storage.VolumeAttachmentStatus{AttachError: &storage.VolumeError{Message: "no more slots", ErrorCode: &full}},
	}
	b.api.node.Set(&v1.Node{})
	b.driver.Limit(2)
	_, err := b.v.Setup(t.Context(), claimingPod("u"), "v")
	var told *translate.ConfigError
	if !errors.As(err, &told) || told.Reason != "VolumeAttachmentLimitExceeded" || !strings.Contains(told.Message, "no more slots") {
		t.Errorf("error %v", err)
	}
	if d, err := b.cfg.Drivers.Driver(driverName); err != nil || d.MostVolumes != 2 {
		t.Errorf("the driver may have %d volumes, %v", d.MostVolumes, err)
	}
	b.teardown("u")
}
