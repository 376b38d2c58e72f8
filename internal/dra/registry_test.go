package dra_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	healthpb "k8s.io/kubelet/pkg/apis/dra-health/v1"

	"github.com/bosun-project/bosun/internal/dra"
	"github.com/bosun-project/bosun/internal/testbed/dradriver"
)

func TestValidate(t *testing.T) {
	r := dra.NewRegistry(dra.RegistryConfig{})
	for _, c := range []struct {
		name     string
		versions []string
		want     string
	}{
		{gpus, []string{"v1.DRAPlugin"}, ""},
		{gpus, []string{"v1beta1.DRAPlugin", "v9.DRAPlugin", "v1.DRAResourceHealth"}, ""},
		{gpus, []string{"1.0.0"}, "DRA driver gpu.example.com speaks the versions [1.0.0]; what works is v1.DRAPlugin or v1beta1.DRAPlugin"},
		{gpus, nil, "DRA driver gpu.example.com speaks the versions []; what works is v1.DRAPlugin or v1beta1.DRAPlugin"},
		{"../etc", []string{"v1.DRAPlugin"}, `the name "../etc" of a DRA driver must be a domain name of at most 63 characters in lower case`},
		{strings.Repeat("a", 64), []string{"v1.DRAPlugin"}, `the name "` + strings.Repeat("a", 64) + `" of a DRA driver must be a domain name of at most 63 characters in lower case`},
	} {
		if err := r.Validate(c.name, c.versions); (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s %v: %v, want %s", c.name, c.versions, err, c.want)
		}
	}
	if err := r.Register(t.Context(), gpus, "relative", []string{"v1.DRAPlugin"}); err == nil {
		t.Error("a relative socket was taken")
	}
}

// awaitDrivers waits until the drivers are as wanted: by name, whether they can be reached.
func awaitDrivers(t *testing.T, n *node, want map[string]bool) {
	t.Helper()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for {
		all, newer := n.drivers.Drivers()
		if maps.Equal(all, want) {
			return
		}
		select {
		case <-newer:
		case <-late.C:
			t.Fatalf("drivers %v, want %v", all, want)
		}
	}
}

// TestDriversThatVanish: behaviour 242, it is noticed when a driver has died without a word, and when it is back.
func TestDriversThatVanish(t *testing.T) {
	n := newNode(t, 0)
	d := n.driver(gpus, dradriver.Options{})
	awaitDrivers(t, n, map[string]bool{gpus: true})
	p := web("web", "a")
	n.claim("a", []string{gpus}, p)
	if err := n.claims.Prepare(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	d.Vanish(t)
	awaitDrivers(t, n, map[string]bool{gpus: false})
	if err := n.claims.Unprepare(t.Context(), p.UID); err == nil {
		t.Error("given back to nobody")
	}
	d.Start(t)
	awaitDrivers(t, n, map[string]bool{gpus: true})
	if err := n.claims.Unprepare(t.Context(), p.UID); err != nil {
		t.Error(err)
	}
	if err := n.drivers.Deregister(gpus, d.Socket); err != nil {
		t.Error(err)
	}
	awaitDrivers(t, n, map[string]bool{})
}

// TestADriverIsReplaced: while it is, there are two of a name; the newest that can be reached is used, and the end of the old one is no
// end of the driver.
func TestADriverIsReplaced(t *testing.T) {
	n := newNode(t, 0)
	old := n.driver(gpus, dradriver.Options{})
	fresh := n.driver(gpus, dradriver.Options{})
	prepare := func(name string) {
		t.Helper()
		p := web(name, name)
		n.claim(name, []string{gpus}, p)
		if err := n.claims.Prepare(t.Context(), p); err != nil {
			t.Error(err)
		}
	}
	prepare("a")
	if len(fresh.Prepared()) != 1 || len(old.Prepared()) != 0 {
		t.Error("the old instance is used")
	}
	fresh.Vanish(t)
	for err := errors.New("not yet"); err != nil; { // the watch may not have noticed yet
		p := web("b", "b")
		n.claim("b", []string{gpus}, p)
		err = n.claims.Prepare(t.Context(), p)
	}
	if len(old.Prepared()) != 1 {
		t.Error("the instance that is left is not used")
	}
	fresh.Start(t)
	if err := n.drivers.Deregister(gpus, old.Socket); err != nil {
		t.Error(err)
	}
	awaitDrivers(t, n, map[string]bool{gpus: true})
	prepare("c")
	if len(fresh.Prepared()) != 2 {
		t.Errorf("prepared by the new instance: %v", fresh.Prepared())
	}
}

// TestHealth: behaviour 240 for devices of claims, over both versions of the service.
func TestHealth(t *testing.T) {
	for _, version := range []string{"v1.DRAResourceHealth", "v1alpha1.DRAResourceHealth"} {
		t.Run(version, func(t *testing.T) {
			n := newNode(t, 0)
			d := n.driver(gpus, dradriver.Options{Versions: []string{"v1.DRAPlugin", version}})
			p := web("web", "a", "b")
			n.claim("a", []string{gpus}, p)
			n.claim("b", []string{gpus}, p)
			p.Spec.Containers[0].Resources.Claims[1].Request = "one"
			if err := n.claims.Prepare(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			await := func(want v1.ResourceHealthStatus, message string) {
				t.Helper()
				late := time.NewTimer(time.Minute)
				defer late.Stop()
				for {
					newer := n.drivers.HealthChanged()
					got, _ := n.claims.Health(p, &p.Spec.Containers[0], time.Now())
					if len(got) != 2 || got[0].Name != "claim:a" || got[1].Name != "claim:b/one" || len(got[0].Resources) != 1 {
						t.Fatalf("status %+v", got)
					}
					r := got[0].Resources[0]
					if r.ResourceID != gpus+"/pool/dev0" {
						t.Fatalf("id %s", r.ResourceID)
					}
					said := ""
					if r.Message != nil {
						said = *r.Message
					}
					if r.Health == want && said == message {
						return
					}
					select {
					case <-newer:
					case <-late.C:
						t.Fatalf("health %+v, want %s", r, want)
					}
				}
			}
			of := func(h healthpb.HealthStatus, message string, seconds int64) {
				d.Fares(&healthpb.DeviceHealth{Device: &healthpb.DeviceIdentifier{PoolName: "pool", DeviceName: "dev0"}, Health: h, Message: message, HealthCheckTimeoutSeconds: seconds})
			}
			await(v1.ResourceHealthStatusUnknown, "")
			of(healthpb.HealthStatus_HEALTHY, "", 0)
			await(v1.ResourceHealthStatusHealthy, "")
			of(healthpb.HealthStatus_UNHEALTHY, strings.Repeat("x", 2000), 7)
			await(v1.ResourceHealthStatusUnhealthy, strings.Repeat("x", 1021)+"...")
			_, until := n.claims.Health(p, &p.Spec.Containers[0], time.Now())
			if left := time.Until(until); left <= 0 || left > 7*time.Second {
				t.Errorf("believed for %s, want 7 s", left)
			}
			if got, _ := n.claims.Health(p, &p.Spec.Containers[0], until); got[0].Resources[0].Health != v1.ResourceHealthStatusUnknown {
				t.Errorf("believed for too long: %+v", got)
			}
			of(healthpb.HealthStatus_HEALTHY, "", -3)
			await(v1.ResourceHealthStatusHealthy, "")
			if err := n.drivers.Deregister(gpus, d.Socket); err != nil {
				t.Error(err)
			}
			await(v1.ResourceHealthStatusUnknown, "")
		})
	}
}
