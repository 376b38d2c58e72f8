package integration

import (
	"os"
	"strings"
	"testing"
	"time"
)

// The kubeconfig of a node that runs is changed to lead to the API server by another address: the agent goes there by itself, without a
// restart, nothing it follows is lost, and nobody is asked at the first address any more.
func TestKubeconfigLeadsElsewhere(t *testing.T) {
	t.Parallel()
	m, first := besieged(t)
	second := m.plane.StartProxy(t)
	ns := m.plane.Namespace(t)
	m.start(t)
	m.untilReady(t)
	g := m.create(t, ns, "moves", plain)
	g.untilReady()
	before := g.containerID("main")

	kubeconfig := m.flag("kubeconfig")
	text, err := os.ReadFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	moved := strings.ReplaceAll(string(text), first.URL, second.URL)
	if moved == string(text) {
		t.Fatalf("the kubeconfig does not name %s", first.URL)
	}
	if err := os.WriteFile(kubeconfig, []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	m.untilLogged(t, "the kubeconfig leads another way to the API server, which is taken")
	began := time.Now()
	late := m.create(t, ns, "late", plain)
	late.untilReady()
	took(t, "a pod by way of the second address", began, 10*time.Second)
	same(t, "container of the pod that was there", g.containerID("main"), before)
	g.remove()
	g.untilGone()
	for _, r := range first.Requests() {
		if r.Began.After(began) {
			t.Errorf("the first address was asked for %s %s", r.Method, r.URI)
		}
	}
	if len(second.Requests()) == 0 {
		t.Error("nobody has come to the second address")
	}
}
