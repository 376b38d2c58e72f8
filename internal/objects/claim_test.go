package objects

import (
	"context"
	"errors"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"

	"github.com/bosun-project/bosun/internal/fault"
)

func (s *server) FollowClaim(ctx context.Context, ns, name string, tell func(*v1.PersistentVolumeClaim, error)) {
	followed(ctx, s, "claim "+ns+"/"+name, tell)
}

func (s *server) FollowVolume(ctx context.Context, name string, tell func(*v1.PersistentVolume, error)) {
	followed(ctx, s, "persistent volume "+name, tell)
}

func (s *server) FollowCSIDrivers(ctx context.Context, tell func([]*storage.CSIDriver, error)) {
	followed(ctx, s, "CSI drivers", tell)
}

func fromClaim(name string) v1.VolumeSource {
	return v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: name}}
}

// claim is bound if it names a volume.
func claim(volume string) *v1.PersistentVolumeClaim {
	c := &v1.PersistentVolumeClaim{}
	c.Namespace, c.Name, c.Spec.VolumeName, c.Status.Phase = "shop", "data", volume, v1.ClaimPending
	if volume != "" {
		c.Status.Phase = v1.ClaimBound
	}
	return c
}

const (
	dataClaim  = "claim shop/data"
	dataVolume = "persistent volume pv"
)

// A pod of a claim is told when that appears and when it is bound; its volume is followed as long as the pod is wanted.
func TestAClaimAndItsVolumeAreFollowed(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.server.put("CSI drivers", []*storage.CSIDriver{})
		p := podOf(fromClaim("data"))
		b.want(p)
		if _, err := b.Claim(t.Context(), "shop", "data"); !errors.Is(err, fault.ErrNotFound) || err.Error() != `persistentvolumeclaim "data" not found` {
			t.Errorf("error %v", err)
		}
		b.grows("appears", 0, func() { b.server.put(dataClaim, claim("")) })
		pv := &v1.PersistentVolume{}
		pv.Name, pv.Annotations = "pv", map[string]string{"other": "annotation", groupAnnotation: "7"}
		b.server.put(dataVolume, pv)
		b.grows("is bound", 0, func() { b.server.put(dataClaim, claim("pv")) })
		got, err := b.Volume(t.Context(), "pv")
		if err != nil || len(got.Annotations) != 1 || got.Annotations[groupAnnotation] != "7" {
			t.Errorf("%v, %v", got, err)
		}
		b.want(podOf(fromClaim("data"), fromMap("m"))) // as another version of the pod
		time.Sleep(time.Hour)
		b.is("followed", b.server.following(), []string{"CSI drivers 1", dataClaim + " 1", m + " 1", dataVolume + " 1", "services 1"})
		b.want()
		time.Sleep(time.Minute)
		b.is("followed", b.server.following(), []string{})
	})
}

func TestTouch(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.want(podOf(fromClaim("data")))
		b.grows("touched", 0, func() { b.Touch(func(p *v1.Pod) bool { return p.UID == "u" }) })
		b.rests("not meant", func() { b.Touch(func(*v1.Pod) bool { return false }) })
	})
}
