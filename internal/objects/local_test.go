package objects

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/pod"
)

// shelf is what manifests of a node hold.
type shelf struct {
	maps  map[string]*v1.ConfigMap
	known bool
}

// A lone node: what is missing is named with where to put it, and its coming tells the pods at once (pains, row 5).
func TestLocalObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var held latest.Cell[shelf]
		var wanted latest.Cell[map[types.UID]*pod.Desired]
		l := New(Config{
			Own: true, Where: "put it there", Wanted: wanted.Get,
			Cluster: Local{
				ConfigMap: func(namespace, name string) (*v1.ConfigMap, bool, <-chan struct{}) {
					s, newer := held.Get()
					return s.maps[namespace+"/"+name], s.known, newer
				},
				Secret: func(string, string) (*v1.Secret, bool, <-chan struct{}) {
					s, newer := held.Get()
					return nil, s.known, newer
				},
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := l.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		defer running.Wait()
		defer cancel()
		mine, others := podOf(fromMap("m"), fromSecret("s")), podOf(fromMap("m"))
		others.UID = "other"
		wanted.Set(map[types.UID]*pod.Desired{mine.UID: {Pod: mine, Source: pod.FromLocal}, others.UID: {Pod: others, Source: pod.FromAPI}})
		synctest.Wait()
		if waits := l.Waits(mine.UID); len(waits) != 2 || len(l.Waits(others.UID)) != 0 {
			t.Errorf("before the sources have spoken it waits for %v, the pod of an API for %v", waits, l.Waits(others.UID))
		}
		held.Set(shelf{known: true})
		facts, err := l.Gather(t.Context(), mine, &mine.Spec.Volumes[0])
		if err != nil || facts.Where != "put it there" || len(facts.ConfigMaps) != 0 {
			t.Errorf("missing: %+v, %v", facts, err)
		}
		before := l.Revisions().Value()[mine.UID]
		began := time.Now()
		held.Set(shelf{known: true, maps: map[string]*v1.ConfigMap{"shop/m": configMap("1")}})
		synctest.Wait()
		if now := l.Revisions().Value(); now[mine.UID] <= before || now[others.UID] != 0 || time.Since(began) > 0 {
			t.Errorf("revisions %v after %s: want the pod's to grow at once", now, time.Since(began))
		}
		var f environ.Facts
		c := &v1.Container{EnvFrom: []v1.EnvFromSource{{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "m"}}}}}
		if err := l.Fill(t.Context(), &pod.Desired{Pod: mine, Source: pod.FromFile}, c, &f); err != nil || f.ConfigMaps["m"].Data["k"] != "1" || f.Services != nil {
			t.Errorf("Fill: %+v, %v", f, err)
		}
	})
}

func TestMissingSaysWhere(t *testing.T) {
	err := &environ.Missing{Kind: environ.ConfigMap, Namespace: "shop", Name: "m", Where: "put it there"}
	if text := err.Error(); !strings.HasSuffix(text, `configmap "m" not found: put it there`) {
		t.Error(text)
	}
}
