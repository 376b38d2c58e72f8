package objects

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
)

// A login to a registry that appears or changes is told of by itself; other objects of the pod are not.
func TestLoginsAreToldOf(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		p := podOf(fromMap("m"))
		p.Spec.ImagePullSecrets = []v1.LocalObjectReference{{Name: "s"}}
		other := numbered(podOf(fromSecret("s")), "other") // a Secret that is no login to this one
		b.want(p, other)
		if found, lacking := b.PullSecrets(b.t.Context(), p); len(found) != 0 || len(lacking) != 1 {
			t.Errorf("found %v, lacking %v", found, lacking)
		}
		logins := func() uint64 { return b.Logins().Value()[p.UID] }
		b.is("logins before", logins(), uint64(0))
		b.grows("map appears", 0, func() { b.server.put(m, configMap("1")) })
		b.is("logins after another object", logins(), uint64(0))
		b.grows("login appears", 0, func() { b.server.put(s, secret("1")) })
		first := logins()
		if first == 0 {
			t.Error("the login has appeared, and nobody was told")
		}
		b.grows("login changes", quiet, func() { b.server.put(s, secret("2")) })
		if logins() <= first {
			t.Error("the login has changed, and nobody was told")
		}
		b.is("logins of a pod without", b.Logins().Value()[other.UID], uint64(0))
		b.want()
		time.Sleep(time.Minute)
	})
}
