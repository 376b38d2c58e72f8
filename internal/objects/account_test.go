package objects

import (
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const robot = "serviceaccount shop/robot"

func robotOf(annotation string) *v1.ServiceAccount {
	a := &v1.ServiceAccount{Secrets: []v1.ObjectReference{{Name: "old"}}}
	a.Namespace, a.Name, a.UID, a.ResourceVersion = "shop", "robot", "uid-1", annotation
	a.Annotations = map[string]string{"id": annotation}
	return a
}

// The service account of a pod is read each time; a node that is not known yet to have the pod asks again (behaviour 163).
func TestAccounts(t *testing.T) {
	kept := &memory{kept: map[string]runtime.Object{}}
	bubble(t, Config{Keep: kept}, func(b *bench) {
		p := podOf()
		b.want(p)
		expect := func(want, wrong string, within time.Duration) {
			t.Helper()
			began := time.Now()
			a, err := b.Account(b.t.Context(), p)
			switch {
			case wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)), wrong == "" && err != nil:
				t.Errorf("error %v, want %q", err, wrong)
			case wrong == "" && (a.Annotations["id"] != want || a.UID != "uid-1" || a.Secrets != nil):
				t.Errorf("got %v, want %s", a, want)
			}
			if took := time.Since(began); took > within {
				t.Errorf("it took %s", took)
			}
		}
		expect("", `failed to get service account shop/robot: serviceaccounts "robot" not found`, 0)
		b.server.put(robot, robotOf("a"))
		b.server.do(func() { b.server.fails[robot] = []error{errForbidden, errForbidden} })
		expect("a", "", time.Second)
		b.server.put(robot, robotOf("b"))
		expect("b", "", 0)
		b.server.do(func() { b.server.silent[robot] = true })
		expect("b", "", brief)
		b.server.do(func() { b.server.silent[robot], b.server.down = false, errAway })
		expect("b", "", 0)
		b.stop()
		b.start(Config{Keep: kept})
		b.want(p)
		expect("b", "", 0) // after a restart, while the API server is still away
		b.server.do(func() { b.server.down = nil })
		expect("b", "", 0)
		b.is("kept", strings.Contains(strings.Join(kept.names(), " "), "robot"), true)
		b.want()
		b.server.do(func() { b.server.down = errAway })
		expect("", "connection refused", 10*time.Second)
		b.is("kept at last", strings.Contains(strings.Join(kept.names(), " "), "robot"), false)
	})
}
