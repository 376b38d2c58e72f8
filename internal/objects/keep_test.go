package objects

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/latest"
)

// A restart while the API server is away: what was used before is used again, and replaced once it answers.
func TestKeptObjects(t *testing.T) {
	kept := &memory{kept: map[string]runtime.Object{}}
	bubble(t, Config{Keep: kept}, func(b *bench) {
		service := &v1.Service{}
		service.Namespace, service.Name = "shop", "db"
		elsewhere := service.DeepCopy()
		elsewhere.Namespace = "x"
		b.server.put("services", []*v1.Service{service, elsewhere})
		b.server.put(m, configMap("1"))
		b.server.put(s, secret("hush"))
		p := podOf(fromMap("m"), fromSecret("s"), fromToken(3600))
		b.want(p, numbered(podOf(fromMap("gone")), "other"))
		token, err := b.Token(b.t.Context(), p, content.Token{Account: "robot", Seconds: 3600})
		if err != nil {
			t.Fatal(err)
		}
		foreign := numbered(podOf(), "foreign")
		foreign.Namespace = "x"
		b.want(p, foreign)
		time.Sleep(time.Minute)
		b.is("kept", len(kept.names()), 4)

		b.stop()
		b.server.do(func() { b.server.down = errAway })
		time.Sleep(48 * time.Hour)
		b.start(Config{Keep: kept})
		b.want(p)
		began := time.Now()
		for i := range p.Spec.Volumes {
			f, err := b.Gather(b.t.Context(), p, &p.Spec.Volumes[i])
			if err == nil {
				_, err = content.Of(p, &p.Spec.Volumes[i], f)
			}
			if err != nil {
				t.Error(err)
			}
		}
		if again, err := b.Token(b.t.Context(), p, content.Token{Account: "robot", Seconds: 3600}); err != nil || again != token {
			t.Errorf("token %v, %v", again, err)
		}
		if own, _, err := b.Services(b.t.Context(), "shop", true); err != nil || len(own) != 1 || own[0].Name != "db" {
			t.Errorf("services %v, %v", own, err)
		}
		if own, _, err := b.Services(b.t.Context(), "x", true); err != nil || len(own) != 1 {
			t.Errorf("services %v, %v", own, err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
		b.grows("the API server is back", 150*time.Millisecond, func() {
			time.Sleep(60 * time.Millisecond)
			b.server.do(func() { b.server.down = nil; b.server.objects[m] = configMap("2") })
		})
		time.Sleep(10 * time.Second)
		if got, err := b.ConfigMap(b.t.Context(), "shop", "m"); err != nil || got.Data["k"] != "2" {
			t.Errorf("%v, %v", got, err)
		}
		if again, err := b.Token(b.t.Context(), p, content.Token{Account: "robot", Seconds: 3600}); err != nil || again == token {
			t.Errorf("token %v, %v", again, err)
		}
		b.want()
		time.Sleep(time.Minute)
		b.is("kept of nobody", kept.names(), []string{})
	})
}

func TestKeptObjectsOfASilentServer(t *testing.T) {
	kept := &memory{kept: map[string]runtime.Object{"ConfigMap shop/m": configMap("old")}}
	bubble(t, Config{Keep: kept}, func(b *bench) {
		b.server.silent[m] = true
		b.want(podOf(fromMap("m")))
		began := time.Now()
		if got, err := b.ConfigMap(b.t.Context(), "shop", "m"); err != nil || got.Data["k"] != "old" || time.Since(began) != 10*time.Second {
			t.Errorf("%v, %v after %s", got, err, time.Since(began))
		}
	})
}

// What was kept is for when the API server cannot be asked, not for when it says no.
func TestKeptObjectThatIsRefused(t *testing.T) {
	kept := &memory{kept: map[string]runtime.Object{"ConfigMap shop/m": configMap("old")}}
	bubble(t, Config{Keep: kept}, func(b *bench) {
		b.server.fails[m] = []error{errForbidden}
		b.server.put(m, configMap("new"))
		b.want(podOf(fromMap("m")))
		if got, err := b.ConfigMap(b.t.Context(), "shop", "m"); err != nil || got.Data["k"] != "new" {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// TestKeptObjectsWhileAway: an API server that neither answers nor refuses costs a second for all that one start needs, once it is known
// to be away; what is not kept is waited for as ever.
func TestKeptObjectsWhileAway(t *testing.T) {
	kept := &memory{kept: map[string]runtime.Object{"ConfigMap shop/m": configMap("old"), "Secret shop/s": secret("hush")}}
	for name, c := range map[string]struct {
		known time.Duration // after which the absence is known
		want  time.Duration
	}{
		"known before":         {0, time.Second},
		"known a moment later": {400 * time.Millisecond, time.Second},
		"known late":           {4 * time.Second, 4 * time.Second},
		"never known":          {time.Hour, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			var away latest.Cell[bool]
			bubble(t, Config{Keep: kept, Away: away.Get}, func(b *bench) {
				b.server.silent[m], b.server.silent[s] = true, true
				p := podOf(v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
					{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: "m"}}},
					{Secret: &v1.SecretProjection{LocalObjectReference: v1.LocalObjectReference{Name: "s"}}},
				}}})
				b.want(p)
				time.AfterFunc(c.known, func() { away.Set(true) })
				if c.known == 0 {
					away.Set(true)
				}
				began := time.Now()
				f, err := b.Gather(b.t.Context(), p, &p.Spec.Volumes[0])
				if err != nil || len(f.ConfigMaps) != 1 || len(f.Secrets) != 1 {
					t.Errorf("%+v, %v", f, err)
				}
				if took := time.Since(began); took != c.want {
					t.Errorf("it took %v, want %v", took, c.want)
				}
			})
		})
	}
	t.Run("not kept", func(t *testing.T) {
		var away latest.Cell[bool]
		away.Set(true)
		bubble(t, Config{Keep: kept, Away: away.Get}, func(b *bench) {
			b.server.silent["configmap shop/new"] = true
			b.want(podOf(fromMap("new")))
			began := time.Now()
			if _, err := b.ConfigMap(b.t.Context(), "shop", "new"); err == nil || time.Since(began) != 10*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	})
	t.Run("a token", func(t *testing.T) {
		tokens := &memory{kept: map[string]runtime.Object{}}
		var away latest.Cell[bool]
		bubble(t, Config{Keep: tokens, Away: away.Get}, func(b *bench) {
			p, wanted := podOf(fromToken(3600)), content.Token{Account: "robot", Seconds: 3600}
			b.want(p)
			token, err := b.Token(b.t.Context(), p, wanted)
			if err != nil {
				t.Fatal(err)
			}
			b.stop()
			b.server.do(func() { b.server.slow = time.Hour })
			away.Set(true)
			b.start(Config{Keep: tokens, Away: away.Get})
			b.want(p)
			began := time.Now()
			if again, err := b.Token(b.t.Context(), p, wanted); err != nil || again != token || time.Since(began) != time.Second {
				t.Errorf("%q, %v after %v", again, err, time.Since(began))
			}
		})
	})
}
