package volume_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	pb "github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/testbed/csidriver"
)

func (b *csiBed) published(n int) *pb.NodePublishVolumeRequest {
	b.t.Helper()
	calls := b.driver.Calls(publish)
	if len(calls) <= n {
		b.t.Fatalf("published %d times, want more than %d", len(calls), n)
	}
	r, _ := calls[n].Request.(*pb.NodePublishVolumeRequest)
	return r
}

func inlinePod(uid string) *v1.Pod {
	p := claimingPod(uid)
	fs := "ext4"
	p.Spec.Volumes[0].VolumeSource = v1.VolumeSource{CSI: &v1.CSIVolumeSource{
		Driver: driverName, FSType: &fs, VolumeAttributes: map[string]string{"a": "b"}, NodePublishSecretRef: &v1.LocalObjectReference{Name: "s"},
	}}
	return p
}

// A volume written into a pod is the pod's own: never attached or staged, and gone with it.
func TestInlineCSIVolume(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	p := inlinePod("u")
	b.api.secrets["shop/s"] = &v1.Secret{Data: map[string][]byte{"key": []byte("hidden")}}
	refused := func(want string) {
		t.Helper()
		if _, err := b.v.Setup(t.Context(), p, "v"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	refused(`volume mode "Ephemeral" not supported by driver dirs.example.com`)
	info := true
	b.api.object = &storage.CSIDriver{Spec: storage.CSIDriverSpec{VolumeLifecycleModes: []storage.VolumeLifecycleMode{storage.VolumeLifecycleEphemeral}, PodInfoOnMount: &info}}
	at := b.setup(p)
	if want := filepath.Join(b.root, "pods/u/volumes/kubernetes.io~csi/v/mount"); at.HostPath != want {
		t.Errorf("it is at %s", at.HostPath)
	}
	r := b.published(0)
	// csi- and the SHA-256 of the pod's UID and the volume's name
	if want := "csi-e6184ce10e266134fdcfa401e8f1a95005bcd4f18d16b62b757323e2833fe9a9"; r.VolumeId != want || r.StagingTargetPath != "" {
		t.Errorf("published as %s from %q", r.VolumeId, r.StagingTargetPath)
	}
	if r.Secrets["key"] != "hidden" || r.VolumeContext["a"] != "b" || r.VolumeCapability.GetMount().GetFsType() != "ext4" {
		t.Errorf("published with %v %v", r.VolumeContext, r.VolumeCapability)
	}
	for key, want := range map[string]string{
		"csi.storage.k8s.io/pod.name": "web-u", "csi.storage.k8s.io/pod.namespace": "shop", "csi.storage.k8s.io/pod.uid": "u",
		"csi.storage.k8s.io/serviceAccount.name": "robot", "csi.storage.k8s.io/ephemeral": "true",
	} {
		if r.VolumeContext[key] != want {
			t.Errorf("%s is %q, want %q", key, r.VolumeContext[key], want)
		}
	}
	if used := b.v.InUse().Value(); len(used) > 0 {
		t.Errorf("in use: %v", used)
	}
	b.teardown("u")
	b.called(publish, unpublish)
}

// What a driver repeats of a secret in its error is not told to anybody.
func TestCSIErrorsShowNoSecrets(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	b.api.volumes["pv"].Spec.CSI.NodeStageSecretRef = &v1.SecretReference{Namespace: "ops", Name: "s"}
	if _, err := b.v.Setup(t.Context(), claimingPod("u"), "v"); err == nil || !strings.Contains(err.Error(), "failed to find the secret s in the namespace ops") {
		t.Errorf("error %v", err)
	}
	b.api.secrets["ops/s"] = &v1.Secret{Data: map[string][]byte{"key": []byte("hidden")}}
	b.driver.Fail(stage, status.Error(codes.Internal, "bad key hidden"))
	_, err := b.v.Setup(t.Context(), claimingPod("u"), "v")
	if want := `MountVolume.MountDevice failed for volume "pv" : rpc error: code = Internal desc = bad key ***stripped***`; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	b.driver.Fail(stage, nil)
	b.setup(claimingPod("u"))
	calls := b.driver.Calls(stage)
	if r, _ := calls[len(calls)-1].Request.(*pb.NodeStageVolumeRequest); r.Secrets["key"] != "hidden" {
		t.Error("the driver was not given the secret")
	}
}

// A claim of a generic ephemeral volume must be the pod's own (behaviour 197).
func TestGenericEphemeralVolume(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	p := claimingPod("u")
	p.Spec.Volumes[0].VolumeSource = v1.VolumeSource{Ephemeral: &v1.EphemeralVolumeSource{}}
	claim := boundClaim("data", "pv")
	claim.Name = "web-u-v"
	b.api.claims["web-u-v"] = claim
	const want = "PVC shop/web-u-v was not created for pod shop/web-u (pod is not owner)"
	if _, err := b.v.Setup(t.Context(), p, "v"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v", err)
	}
	yes := true
	claim.OwnerReferences = []metav1.OwnerReference{{UID: "u", Controller: &yes}}
	b.setup(p)
	b.called(stage, publish)
}

// Who gives the volume to the pod's group depends on what the driver can and allows (behaviour 184).
func TestCSIGroups(t *testing.T) {
	policy := func(p storage.FSGroupPolicy) *storage.FSGroupPolicy { return &p }
	for name, c := range map[string]struct {
		driver   csidriver.Options
		policy   *storage.FSGroupPolicy
		fsType   string
		mode     v1.PersistentVolumeAccessMode
		readOnly bool
		agent    bool
	}{
		"default, with a file system":        {fsType: "ext4", agent: true},
		"default, without one":               {},
		"default, of many writers":           {fsType: "ext4", mode: v1.ReadWriteMany},
		"default, read only":                 {fsType: "ext4", readOnly: true},
		"default, of one pod":                {fsType: "ext4", mode: v1.ReadWriteOncePod, agent: true},
		"File":                               {policy: policy(storage.FileFSGroupPolicy), mode: v1.ReadWriteMany, agent: true},
		"None":                               {policy: policy(storage.NoneFSGroupPolicy), fsType: "ext4"},
		"the driver does it, whatever is so": {driver: csidriver.Options{MountGroup: true}, policy: policy(storage.FileFSGroupPolicy), fsType: "ext4"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newCSIBed(t, c.driver)
			b.api.object.Spec.FSGroupPolicy = c.policy
			pv := b.api.volumes["pv"]
			pv.Spec.CSI.FSType = c.fsType
			if c.mode != "" {
				pv.Spec.AccessModes = []v1.PersistentVolumeAccessMode{c.mode}
			}
			p := claimingPod("u")
			group := int64(4321)
			p.Spec.SecurityContext = &v1.PodSecurityContext{FSGroup: &group}
			p.Spec.Volumes[0].PersistentVolumeClaim.ReadOnly = c.readOnly
			at := b.setup(p)
			info, err := os.Stat(at.HostPath)
			if err != nil {
				t.Fatal(err)
			}
			st, _ := info.Sys().(*syscall.Stat_t)
			if got := st.Gid == 4321; got != c.agent {
				t.Errorf("given to the group by the agent: %v, want %v", got, c.agent)
			}
			want := ""
			if c.driver.MountGroup {
				want = "4321"
			}
			if got := b.published(0).VolumeCapability.GetMount().GetVolumeMountGroup(); got != want {
				t.Errorf("the driver was told the group %q, want %q", got, want)
			}
			if at.ReadOnly != c.readOnly || b.published(0).Readonly != c.readOnly {
				t.Errorf("read only: %v, %v", at.ReadOnly, b.published(0).Readonly)
			}
		})
	}
}

// A driver that wants it is asked again and again, with fresh tokens; others are not.
func TestCSIRepublishingAndTokens(t *testing.T) {
	for _, inSecrets := range []bool{false, true} {
		b := newCSIBed(t, csidriver.Options{})
		again, seconds := true, int64(900)
		b.api.object.Spec.TokenRequests = []storage.TokenRequest{{Audience: "vault", ExpirationSeconds: &seconds}}
		b.api.object.Spec.ServiceAccountTokenInSecrets = &inSecrets
		p := claimingPod("u")
		b.setup(p)
		b.setup(p)
		b.called(stage, publish)
		if b.v.Restless("u") {
			t.Error("it wants nothing")
		}
		b.api.object.Spec.RequiresRepublish = &again
		b.setup(p)
		b.called(stage, publish, publish)
		if !b.v.Restless("u") {
			t.Error("nobody will ask again")
		}
		r := b.published(1)
		text, other := r.VolumeContext, r.Secrets
		if inSecrets {
			text, other = other, text
		}
		var tokens map[string]struct{ Token, ExpirationTimestamp string }
		if err := json.Unmarshal([]byte(text["csi.storage.k8s.io/serviceAccount.tokens"]), &tokens); err != nil {
			t.Fatal(err)
		}
		if got := tokens["vault"]; !strings.HasSuffix(got.Token, "robot-vault") || got.ExpirationTimestamp != "2023-11-14T22:13:20Z" {
			t.Errorf("tokens %+v", tokens)
		}
		if _, there := other["csi.storage.k8s.io/serviceAccount.tokens"]; there {
			t.Error("the tokens are at both places")
		}
		b.teardown("u")
		if b.v.Restless("u") {
			t.Error("a pod that is gone is not forgotten")
		}
	}
}

// A driver that hangs holds up neither other volumes of the pod nor other pods.
func TestACSIDriverThatHangsHoldsUpOnlyItsOwn(t *testing.T) {
	b := newCSIBed(t, csidriver.Options{})
	p := claimingPod("u")
	p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: "e", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}})
	if _, err := b.v.Setup(t.Context(), p, "e"); err != nil {
		t.Fatal(err)
	}
	b.setup(p)
	release := b.driver.Hang(unpublish)
	ended := make(chan error, 1)
	go func() { ended <- b.v.TearDown(t.Context(), "u") }()
	untilGone(t, filepath.Join(b.root, "pods/u/volumes/kubernetes.io~empty-dir/e"))
	b.setupOther("w")
	select {
	case err := <-ended:
		t.Fatalf("the pod is said to be gone: %v", err)
	default:
	}
	release()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// setupOther sets up a volume of another handle for another pod.
func (b *csiBed) setupOther(uid string) {
	b.t.Helper()
	b.api.mu.Lock()
	b.api.claims["other"] = boundClaim("other", "pv2")
	b.api.volumes["pv2"] = csiVolume("pv2", "h2")
	b.api.volumes["pv2"].Spec.ClaimRef.UID = "uid of other"
	b.api.mu.Unlock()
	p := claimingPod(uid)
	p.Spec.Volumes[0].PersistentVolumeClaim.ClaimName = "other"
	b.setup(p)
	if !slices.Contains(mountsBelow(b.t, b.root), filepath.Join(b.root, "pods", uid, "volumes/kubernetes.io~csi/pv2/mount")) {
		b.t.Error("the other volume is not mounted")
	}
}
