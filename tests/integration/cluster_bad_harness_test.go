package integration

import (
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// plain is a pod that runs until it is told to end.
const plain = "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}"

// besieged is a member of the shared cluster, before it starts, whose way to the API server leads through a proxy.
func besieged(t *testing.T, more ...string) (*member, *controlplane.Proxy) {
	t.Helper()
	return besiegedOf(t, controlplane.Shared(t), more...)
}

func besiegedOf(t *testing.T, plane *controlplane.Plane, more ...string) (*member, *controlplane.Proxy) {
	t.Helper()
	x := plane.StartProxy(t)
	m := quietMember(t, plane, "", more...)
	kubeconfig, err := x.NodeKubeconfig(m.name)
	if err != nil {
		t.Fatal(err)
	}
	m.set("kubeconfig", kubeconfig)
	return m, x
}

// set gives a flag of the agent another value, from its next start on.
func (m *member) set(flag, value string) {
	flag = "--" + flag + "="
	for i, have := range m.more {
		if strings.HasPrefix(have, flag) {
			m.more[i] = flag + value
			return
		}
	}
	m.more = append(m.more, flag+value)
}

// unset takes a flag away.
func (m *member) unset(flag string) {
	var kept []string
	for _, have := range m.more {
		if !strings.HasPrefix(have, "--"+flag+"=") {
			kept = append(kept, have)
		}
	}
	m.more = kept
}

// configMap makes or replaces a ConfigMap.
func (m *member) configMap(t *testing.T, ns, name string, data map[string]string) {
	t.Helper()
	object := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	api := m.api.CoreV1().ConfigMaps(ns)
	if _, err := api.Update(t.Context(), object, metav1.UpdateOptions{}); err == nil {
		return
	}
	if _, err := api.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// secret makes a Secret.
func (m *member) secret(t *testing.T, ns, name string, data map[string][]byte) {
	t.Helper()
	object := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	if _, err := m.api.CoreV1().Secrets(ns).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// repeatedly does something again and again, with a pause before each time, until stop is called. stop waits for the last.
func repeatedly(pause func() time.Duration, what func()) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(pause()):
				what()
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(done)
		<-ended
	})
}

// dice are random and can be thrown again: the log of a test that failed has their seed.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// took logs how long something has taken since, and fails the test if that was more than most.
func took(t *testing.T, what string, since time.Time, most time.Duration) {
	t.Helper()
	d := time.Since(since).Round(time.Millisecond)
	t.Logf("%s: %v", what, d)
	if d > most {
		t.Errorf("%s took %v, want at most %v", what, d, most)
	}
}

// user is who the node is to the API server.
func (m *member) user() string { return controlplane.NodeIdentity(m.name).User }

// since counts the requests of the node that ended since, one line for each kind with its number.
func (m *member) requestsSince(t *testing.T, since time.Time) (int, string) {
	t.Helper()
	all, err := m.plane.Requests(m.user(), since)
	if err != nil {
		t.Fatal(err)
	}
	return len(all), countBy(all, func(e controlplane.AuditEvent) string {
		path, _, _ := strings.Cut(e.RequestURI, "?")
		return fmt.Sprintf("%s %s %d", e.Verb, path, e.Code())
	})
}

func countBy[T any](all []T, of func(T) string) string {
	counts, order := map[string]int{}, []string(nil)
	for _, one := range all {
		k := of(one)
		if counts[k] == 0 {
			order = append(order, k)
		}
		counts[k]++
	}
	var text strings.Builder
	for _, k := range order {
		fmt.Fprintf(&text, "%4d %s\n", counts[k], k)
	}
	return text.String()
}

// containerOf is the newest container of a pod on the node, by its names.
func (g *guest) containerID(container string) string {
	g.t.Helper()
	var id string
	eventually(g.t, func() error {
		all, err := g.containersOf(g.name)
		if err != nil {
			return err
		}
		for _, c := range all {
			if c.Metadata.Name == container && c.Labels["io.kubernetes.pod.uid"] == g.uid {
				id = c.Id
				return nil
			}
		}
		return fmt.Errorf("pod %s has no container %s", g.name, container)
	})
	return id
}

// flag is the value of one of the agent's flags.
func (m *member) flag(name string) string {
	for _, have := range m.more {
		if value, ok := strings.CutPrefix(have, "--"+name+"="); ok {
			return value
		}
	}
	return ""
}

// pemDecode is the content of the first block.
func pemDecode(text []byte) (content, rest []byte) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, rest
	}
	return block.Bytes, rest
}

// parsePod reads the text of a pod.
func parsePod(t *testing.T, text string) *v1.Pod {
	t.Helper()
	p := &v1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(expand.Replace(text)), p); err != nil {
		t.Fatal(err)
	}
	return p
}
