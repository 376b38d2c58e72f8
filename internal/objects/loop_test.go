package objects

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	node "k8s.io/api/node/v1"

	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/fault"
)

const m, s = "configmap shop/m", "secret shop/s"

// A bad day of the cluster: a ConfigMap that never appears, then appears.
func TestObjectThatAppears(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		p := podOf(fromMap("m"))
		b.want(p)
		_, err := b.ConfigMap(b.t.Context(), "shop", "m")
		var missing *environ.Missing
		if !errors.As(err, &missing) || err.Error() != `configmap "m" not found` {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Hour)
		b.grows("appears", 0, func() { b.server.put(m, configMap("1")) })
		got, err := b.ConfigMap(b.t.Context(), "shop", "m")
		if err != nil || got.Data["k"] != "1" || got.Annotations != nil || got.ManagedFields != nil {
			t.Errorf("%v, %v", got, err)
		}
		b.grows("changes", quiet, func() { b.server.put(m, configMap("2")) })
		b.rests("same data", func() { b.server.put(m, configMap("2")) })
		b.grows("is deleted", quiet, func() { b.server.remove(m) })
		if _, err := b.ConfigMap(b.t.Context(), "shop", "m"); !errors.As(err, &missing) {
			t.Errorf("error %v", err)
		}
		b.grows("is back", 0, func() { b.server.put(m, configMap("2")) })
	})
}

// What is there before anybody has looked needs nobody to look again.
func TestObjectThatIsThere(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.server.put(m, configMap("1"))
		b.rests("first answer", func() { b.want(podOf(fromMap("m"))) })
		began := time.Now()
		if got, err := b.ConfigMap(b.t.Context(), "shop", "m"); err != nil || got.Data["k"] != "1" || time.Since(began) != 0 {
			t.Errorf("%v, %v after %s", got, err, time.Since(began))
		}
		b.grows("changes", quiet, func() { b.server.put(m, configMap("2")) })
	})
}

func TestBurstOfChanges(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.server.put(m, configMap("0"))
		b.want(podOf(fromMap("m")))
		burst := func(n int) func() {
			return func() {
				for i := range n {
					if i > 0 {
						time.Sleep(50 * time.Millisecond)
					}
					b.server.put(m, configMap(fmt.Sprint(n, i)))
				}
			}
		}
		b.grows("three changes", 100*time.Millisecond+quiet, burst(3))
		b.grows("endless changes", most, func() { go burst(100)(); synctest.Wait() })
		time.Sleep(time.Minute)
	})
}

func TestFollowingIsSharedAndReleased(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		var pods []*v1.Pod
		for i := range 100 {
			pods = append(pods, numbered(podOf(fromMap("m"), fromSecret("s"), fromMap("m2")), fmt.Sprint("u", i)))
		}
		b.server.put(m, configMap("1"))
		b.want(pods...)
		b.is("followed", b.server.following(), []string{m + " 1", "configmap shop/m2 1", s + " 1", "services 1"})
		b.server.put(m, configMap("2"))
		time.Sleep(quiet)
		synctest.Wait()
		b.is("pods told", len(b.Revisions().Value()), 100)
		b.want(pods[:1]...)
		time.Sleep(time.Hour)
		b.is("followed for one pod", len(b.server.following()), 4)
		b.is("pods left", len(b.Revisions().Value()), 1)
		b.want()
		time.Sleep(29 * time.Second)
		b.want(pods[1]) // a rollout
		b.is("followed after a rollout", b.server.count(b.server.begun, m), 1)
		b.want()
		time.Sleep(29 * time.Second)
		b.is("followed within the grace", len(b.server.following()), 4)
		time.Sleep(2 * time.Second)
		b.is("followed at last", len(b.server.following()), 0)
		b.is("pods at last", len(b.Revisions().Value()), 0)
		b.want(pods[1])
		if got, err := b.ConfigMap(b.t.Context(), "shop", "m"); err != nil || got.Data["k"] != "2" {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// The authorizer lets a node see only what its pods need: for pods that are gone it need not ask again and again.
func TestRefusedObjectsOfPodsThatAreGone(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		refusals := make([]error, 100)
		for i := range refusals {
			refusals[i] = errForbidden
		}
		b.server.do(func() { b.server.fails[m] = refusals })
		b.want(podOf(fromMap("m")))
		time.Sleep(time.Minute)
		b.is("followed while it is needed", b.server.following(), []string{m + " 1", "services 1"})
		b.want()
		b.is("followed when it is not", b.server.following(), []string{"services 1"})
		b.want(podOf(fromMap("m")))
		b.is("followed again", b.server.following(), []string{m + " 1", "services 1"})
		b.server.do(func() { b.server.fails[m], b.server.objects[m] = nil, configMap("1") })
		if got, err := b.ConfigMap(b.t.Context(), "shop", "m"); err != nil || got.Data["k"] != "1" {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestPodsThatNeedNothing(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		over, static := podOf(fromMap("m"), fromToken(3600)), numbered(podOf(fromMap("m"), fromToken(3600)), "static")
		over.Status.Phase, static.Labels = v1.PodFailed, map[string]string{"static": "yes"}
		b.want(over)
		b.is("followed for a pod that is over", len(b.server.following()), 0)
		b.want(over, static)
		b.is("followed for a static pod", b.server.following(), []string{"services 1"})
		b.is("tokens", b.server.asks(), 0)
		over.Status.Phase = v1.PodRunning
		b.want(over)
		b.is("tokens", b.server.asks(), 1)
	})
}

// The API server lets a node read only what its pods refer to, and learns of that a moment late.
func TestRefusedAtFirst(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.server.fails[m] = []error{errForbidden, errForbidden}
		b.server.put(m, configMap("1"))
		p := podOf(fromMap("m"))
		b.want(p)
		waits := b.Waits("u")
		if len(waits) != 1 || waits[0].What != m || !strings.Contains(waits[0].Problem, "no relationship found") {
			t.Errorf("waits %v", waits)
		}
		began := time.Now()
		f, err := b.Gather(b.t.Context(), p, &p.Spec.Volumes[0])
		if err != nil || f.ConfigMaps["m"].Data["k"] != "1" || time.Since(began) != 150*time.Millisecond {
			t.Errorf("%v, %v after %s", f.ConfigMaps, err, time.Since(began))
		}
		b.is("waits", len(b.Waits("u")), 0)
	})
}

func TestAPIServerAway(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.server.put(m, configMap("1"))
		b.want(podOf(fromMap("m")))
		b.server.do(func() { b.server.down = errAway })
		other := numbered(podOf(fromMap("m"), fromSecret("s")), "other")
		b.want(podOf(fromMap("m")), other)
		if got, err := b.ConfigMap(b.t.Context(), "shop", "m"); err != nil || got.Data["k"] != "1" {
			t.Errorf("what was known: %v, %v", got, err)
		}
		began := time.Now()
		_, err := b.Gather(b.t.Context(), other, &other.Spec.Volumes[1])
		if want := "secret shop/s: no answer within 10s: " + errAway.Error(); err == nil || err.Error() != want || time.Since(began) != 10*time.Second {
			t.Errorf("error %v after %s", err, time.Since(began))
		}
		if !errors.Is(err, fault.ErrTimeout) {
			t.Error("the error has no class")
		}
		before := b.revision("other")
		b.server.do(func() { b.server.down = nil; b.server.objects[s] = secret("hush") })
		time.Sleep(8 * time.Second)
		if b.revision("other") == before {
			t.Error("a pod that could not read the secret is not told that it is there")
		}
		if got, err := b.Secret(b.t.Context(), "shop", "s"); err != nil || string(got.Data["k"]) != "hush" {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestReadersGiveUp(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.server.silent[m], b.server.silent[s] = true, true
		p := podOf(v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
			{ConfigMap: &v1.ConfigMapProjection{LocalObjectReference: v1.LocalObjectReference{Name: "m"}}},
			{Secret: &v1.SecretProjection{LocalObjectReference: v1.LocalObjectReference{Name: "s"}}},
		}}})
		b.want(p)
		began := time.Now()
		_, err := b.Gather(b.t.Context(), p, &p.Spec.Volumes[0])
		want := "[configmap shop/m: the API server has not answered within 10s, secret shop/s: the API server has not answered within 10s]"
		if err == nil || err.Error() != want || time.Since(began) != 10*time.Second {
			t.Errorf("error %v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Second)
		defer cancel()
		if _, err := b.ConfigMap(ctx, "shop", "m"); !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), m) {
			t.Errorf("error %v", err)
		}
		b.grows("is answered", 0, func() {
			b.server.do(func() { b.server.objects[m] = configMap("1"); b.server.silent = map[string]bool{} })
		})
	})
}

// Behaviour 322.
func TestImmutableObjects(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		fixed, yes := configMap("1"), true
		fixed.Immutable = &yes
		fixedSecret := secret("hush")
		fixedSecret.Immutable = &yes
		b.server.put(m, fixed)
		b.server.put(s, fixedSecret)
		b.want(podOf(fromMap("m"), fromSecret("s")))
		b.is("followed", b.server.following(), []string{"services 1"})
		for range 2 {
			if got, err := b.ConfigMap(b.t.Context(), "shop", "m"); err != nil || got.Data["k"] != "1" {
				t.Errorf("%v, %v", got, err)
			}
			b.want(podOf(fromMap("m")), numbered(podOf(fromMap("m")), "other"))
		}
		b.is("asked", b.server.count(b.server.begun, m), 1)
		b.want()
		time.Sleep(time.Minute)
		b.server.put(m, configMap("2"))
		b.want(podOf(fromMap("m")))
		if got, err := b.ConfigMap(b.t.Context(), "shop", "m"); err != nil || got.Data["k"] != "2" {
			t.Errorf("after it was released: %v, %v", got, err)
		}
	})
}

func TestReaderBeforeThePodIsKnown(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.server.put(m, configMap("1"))
		if got, err := b.ConfigMap(b.t.Context(), "shop", "m"); err != nil || got.Data["k"] != "1" {
			t.Errorf("%v, %v", got, err)
		}
		time.Sleep(20 * time.Second)
		b.want(podOf(fromMap("m")))
		b.is("asked", b.server.count(b.server.begun, m), 1)
		b.want()
		time.Sleep(31 * time.Second)
		b.is("followed", len(b.server.following()), 0)
	})
}

func TestStrategyGet(t *testing.T) {
	bubble(t, Config{Strategy: Get}, func(b *bench) {
		p := podOf(fromMap("m"), fromSecret("s"))
		b.want(p)
		b.is("followed", b.server.following(), []string{"services 1"})
		b.rests("nothing has happened", func() {})
		b.is("revision", b.revision("u"), 0)
		b.server.fails[m] = []error{errForbidden}
		b.server.put(m, configMap("1"))
		for i, want := range []string{"1", "2"} {
			if got, err := b.ConfigMap(b.t.Context(), "shop", "m"); err != nil || got.Data["k"] != want {
				t.Errorf("%v, %v, want %s", got, err, want)
			}
			b.is("asked", b.server.count(b.server.begun, m), i+1)
			b.server.put(m, configMap("2"))
		}
		if _, err := b.Secret(b.t.Context(), "shop", "s"); err == nil || err.Error() != `secret "s" not found` {
			t.Errorf("error %v", err)
		}
		b.is("followed between uses", b.server.following(), []string{"services 1"})
		b.grows("a minute goes by", 55*time.Second-50*time.Millisecond, func() {})
		b.grows("another", time.Minute, func() {})
		b.server.silent[m] = true
		if _, err := b.ConfigMap(b.t.Context(), "shop", "m"); !errors.Is(err, fault.ErrTimeout) {
			t.Errorf("error %v", err)
		}
	})
}

// Behaviour 69.
func TestServices(t *testing.T) {
	service := func(ns, name string) *v1.Service {
		s := &v1.Service{Spec: v1.ServiceSpec{ClusterIP: "10.0.0.1"}}
		s.Namespace, s.Name = ns, name
		return s
	}
	bubble(t, Config{}, func(b *bench) {
		b.server.silent["services"] = true
		p := podOf()
		b.want(p)
		_, _, err := b.Services(b.t.Context(), "shop", true)
		if err == nil || !strings.HasPrefix(err.Error(), "services have not yet been read at least once, cannot construct envvars") {
			t.Errorf("error %v", err)
		}
		began := time.Now()
		if own, master, err := b.Services(b.t.Context(), "shop", false); len(own)+len(master) > 0 || err != nil || time.Since(began) != 0 {
			t.Errorf("a static pod gets %v, %v, %v after %s", own, master, err, time.Since(began))
		}
		b.grows("first answer", 0, func() {
			b.server.do(func() {
				b.server.silent = map[string]bool{}
				b.server.objects["services"] = []*v1.Service{service("shop", "db"), service("default", "kubernetes"), service("default", "other"), service("x", "kubernetes")}
			})
		})
		own, master, err := b.Services(b.t.Context(), "shop", true)
		if err != nil || len(own) != 1 || own[0].Name != "db" || len(master) != 1 || master[0].Namespace != "default" {
			t.Errorf("%v, %v, %v", own, master, err)
		}
		b.rests("a change", func() { b.server.put("services", []*v1.Service{service("shop", "new")}) })
		if own, _, _ := b.Services(b.t.Context(), "shop", true); len(own) != 1 || own[0].Name != "new" {
			t.Errorf("%v", own)
		}
	})
}

func TestRuntimeClasses(t *testing.T) {
	class := func(name string) *node.RuntimeClass {
		c := &node.RuntimeClass{Handler: name}
		c.Name = name
		return c
	}
	bubble(t, Config{}, func(b *bench) {
		name := "kata"
		p := podOf()
		p.Spec.RuntimeClassName = &name
		b.want(p)
		if _, err := b.RuntimeClass(b.t.Context(), name); !errors.Is(err, fault.ErrNotFound) || err.Error() != `runtimeclass.node.k8s.io "kata" not found` {
			t.Errorf("error %v", err)
		}
		b.grows("appears", 0, func() { b.server.put("runtime classes", []*node.RuntimeClass{class("gvisor"), class("kata")}) })
		if c, err := b.RuntimeClass(b.t.Context(), name); err != nil || c.Handler != "kata" {
			t.Errorf("%v, %v", c, err)
		}
	})
}

func TestTrustBundles(t *testing.T) {
	bundle := func(text string) *certificates.ClusterTrustBundle {
		b := &certificates.ClusterTrustBundle{Spec: certificates.ClusterTrustBundleSpec{TrustBundle: text}}
		b.Name = "ca"
		return b
	}
	bubble(t, Config{}, func(b *bench) {
		name := "ca"
		p := podOf(v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
			{ClusterTrustBundle: &v1.ClusterTrustBundleProjection{Name: &name, Path: "ca"}}}}})
		b.want(p)
		if f, err := b.Gather(b.t.Context(), p, &p.Spec.Volumes[0]); err != nil || len(f.TrustBundles) != 0 {
			t.Errorf("%v, %v", f, err)
		}
		b.grows("appears", 0, func() { b.server.put("cluster trust bundles", []*certificates.ClusterTrustBundle{bundle("1")}) })
		b.grows("changes", quiet, func() { b.server.put("cluster trust bundles", []*certificates.ClusterTrustBundle{bundle("2")}) })
		b.rests("nothing new", func() { b.server.put("cluster trust bundles", []*certificates.ClusterTrustBundle{bundle("2")}) })
		if f, err := b.Gather(b.t.Context(), p, &p.Spec.Volumes[0]); err != nil || len(f.TrustBundles) != 1 || f.TrustBundles[0].Spec.TrustBundle != "2" {
			t.Errorf("%v, %v", f, err)
		}
	})
}

func TestFillAndPullSecrets(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		p := podOf()
		p.Spec.ImagePullSecrets = []v1.LocalObjectReference{{Name: "s"}, {Name: "gone"}}
		optional := true
		p.Spec.Containers[0].EnvFrom = []v1.EnvFromSource{
			{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "m"}}},
			{SecretRef: &v1.SecretEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "s"}}},
			{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "none"}, Optional: &optional}},
		}
		b.server.put(m, configMap("1"))
		b.server.put(s, secret("hush"))
		b.want(p)
		var f environ.Facts
		if err := b.Fill(b.t.Context(), b.wanted.Value()["u"], &p.Spec.Containers[0], &f); err != nil {
			t.Fatal(err)
		}
		if len(f.ConfigMaps) != 1 || f.ConfigMaps["m"].Data["k"] != "1" || string(f.Secrets["s"].Data["k"]) != "hush" {
			t.Errorf("%+v", f)
		}
		if vars, err := environ.Vars(p, &p.Spec.Containers[0], f); err != nil || len(vars) != 1 {
			t.Errorf("%v, %v", vars, err)
		}
		found, lacking := b.PullSecrets(b.t.Context(), p)
		if len(found) != 1 || string(found[0].Data["k"]) != "hush" || len(lacking) != 1 || lacking[0] != "gone" {
			t.Errorf("%v, %v", found, lacking)
		}
	})
}

// A bad day of the cluster: 300 pods bound at once, each with objects of its own that the node may not see yet.
func TestManyPodsAtOnce(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		var pods []*v1.Pod
		for i := range 300 {
			name := fmt.Sprint("m", i)
			b.server.fails["configmap shop/"+name] = []error{errForbidden, errForbidden}
			b.server.objects["configmap shop/"+name] = configMap(name)
			pods = append(pods, numbered(podOf(fromMap(name), fromSecret("s"), fromToken(3600)), fmt.Sprint("u", i)))
		}
		b.server.put(s, secret("hush"))
		b.want(pods...)
		began := time.Now()
		var readers sync.WaitGroup
		for i, p := range pods {
			for j := range p.Spec.Volumes {
				readers.Go(func() {
					f, err := b.Gather(b.t.Context(), p, &p.Spec.Volumes[j])
					if err != nil || j == 0 && f.ConfigMaps[fmt.Sprint("m", i)] == nil || j == 1 && f.Secrets["s"] == nil || j == 2 && len(f.Tokens) != 1 {
						b.t.Errorf("pod %d, volume %d: %v", i, j, err)
					}
				})
			}
		}
		readers.Wait()
		if took := time.Since(began); took != 150*time.Millisecond {
			t.Errorf("took %s", took)
		}
		b.is("followed", len(b.server.following()), 302)
	})
}

func TestNoSecretInErrors(t *testing.T) {
	bubble(t, Config{}, func(b *bench) {
		b.server.put(s, secret("hush"))
		b.server.silent[m] = true
		p := podOf(fromSecret("s"), fromMap("m"))
		b.want(p)
		_, err := b.Gather(b.t.Context(), p, &p.Spec.Volumes[1])
		if err == nil || strings.Contains(fmt.Sprint(err, b.Waits("u")), "hush") {
			t.Errorf("error %v, waits %v", err, b.Waits("u"))
		}
	})
}
