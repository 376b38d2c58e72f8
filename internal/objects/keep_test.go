package objects

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bosun-project/bosun/internal/content"
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
