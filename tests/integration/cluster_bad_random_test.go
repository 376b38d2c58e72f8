package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// A saga is a random history of a few pods against the real API server, with crashes of the agent and an API server that goes and
// comes back.
type saga struct {
	*member
	t      *testing.T
	x      *controlplane.Proxy
	random *rand.Rand
	ns     string
	names  []string
	there  map[string]*guest // as the API server has them, for all we know
	word   int               // what the ConfigMap says
	back   func()            // brings the API server back; nil if it is there
	told   []string
}

func (s *saga) tell(format string, args ...any) {
	s.told = append(s.told, fmt.Sprint(time.Now().Format("05.000 "), fmt.Sprintf(format, args...)))
}

// step does one thing that somebody may do at any time.
func (s *saga) step() {
	name := s.names[s.random.IntN(len(s.names))]
	g := s.there[name]
	switch what := s.random.IntN(20); {
	case what < 8:
		s.make(name)
	case what < 11 && g != nil:
		s.tell("delete %s", name)
		g.remove()
	case what < 13 && g != nil:
		s.tell("force %s", name)
		g.force()
	case what < 15:
		s.edit()
	case what < 17:
		s.tell("kill -9")
		s.restart(s.t)
	case what < 18 && s.back == nil:
		s.tell("the API server goes")
		s.back = gone(s.x)
	case s.back != nil:
		s.comeBack()
	}
}

func (s *saga) comeBack() {
	s.tell("the API server is back")
	s.back()
	s.back = nil
}

func (s *saga) edit() {
	s.word++
	s.tell("word %d", s.word)
	s.configMap(s.t, s.ns, "settings", map[string]string{"word": fmt.Sprint(s.word)})
}

// make makes a pod if the API server has none of the name.
func (s *saga) make(name string) {
	uid, err := s.create(name)
	if err != nil {
		return
	}
	s.tell("make %s %s", name, uid)
	s.there[name] = &guest{member: s.member, t: s.t, ns: s.ns, name: name, uid: uid}
}

func (s *saga) create(name string) (uid string, err error) {
	p := parsePod(s.t, s.text(name, `
spec:
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  volumes: [{name: settings, configMap: {name: settings}}]
  containers: [{name: main, image: BOX, volumeMounts: [{name: settings, mountPath: /settings}]}, {name: other, image: BOX, args: [ignore-term]}]
`))
	p.Spec.NodeName = s.name
	made, err := s.api.CoreV1().Pods(s.ns).Create(context.Background(), p, metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err):
		return "", err
	case err != nil:
		s.t.Fatal(err)
	}
	return string(made.UID), nil
}

// settled tells what is wrong while the node is not as the API server wants it: each pod there is ready once, with what the
// ConfigMap says now, and nothing else is left.
func (s *saga) settled() error {
	list, err := s.api.CoreV1().Pods(s.ns).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	wanted := map[string]string{}
	for i := range list.Items {
		p := &list.Items[i]
		if p.DeletionTimestamp != nil || !isReady(p) {
			return fmt.Errorf("pod %s is not ready, or is being deleted (%v): %+v", p.Name, p.DeletionTimestamp, p.Status)
		}
		wanted[string(p.UID)] = p.Name
		data, err := os.ReadFile(filepath.Join(s.root, "pods", string(p.UID), "volumes/kubernetes.io~configmap/settings/word"))
		if err != nil || string(data) != fmt.Sprint(s.word) {
			return fmt.Errorf("pod %s sees the word %q (%v), want %d", p.Name, data, err, s.word)
		}
	}
	return s.nothingBut(wanted)
}

// nothingBut tells what is wrong unless the node has these pods, each with one sandbox and its two containers running, and
// nothing else.
func (s *saga) nothingBut(wanted map[string]string) error {
	sandboxes, err := s.runtime.ListPodSandbox(context.Background(), &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return err
	}
	var seen []string
	for _, one := range sandboxes.Items {
		if wanted[one.Metadata.Uid] == "" || one.State != runtimeapi.PodSandboxState_SANDBOX_READY {
			return fmt.Errorf("there is a sandbox of %s %s %v", one.Metadata.Name, one.Metadata.Uid, one.State)
		}
		seen = append(seen, one.Metadata.Uid)
	}
	if n := len(slices.Compact(slices.Sorted(slices.Values(seen)))); n != len(seen) || n != len(wanted) {
		return fmt.Errorf("there are sandboxes of %v, want one of each of %v", seen, wanted)
	}
	containers, err := s.runtime.ListContainers(context.Background(), &runtimeapi.ListContainersRequest{})
	if err != nil {
		return err
	}
	running := 0
	for _, c := range containers.Containers {
		if c.State == runtimeapi.ContainerState_CONTAINER_RUNNING {
			running++
		}
	}
	if running != 2*len(wanted) {
		return fmt.Errorf("%d containers run of %d pods", running, len(wanted))
	}
	for _, pattern := range []string{filepath.Join(s.root, "pods", "*"), filepath.Join(s.podLogs, s.ns+"_*")} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, path := range found {
			base := filepath.Base(path)
			if uid := base[strings.LastIndexByte(base, '_')+1:]; wanted[uid] == "" {
				return fmt.Errorf("%s is left", path)
			}
		}
	}
	return nil
}

// Pods are made, deleted, forced out, made again, and what they show is edited, at any speed; the agent crashes, and the
// API server goes and comes back. At rest there is what the API server wants, once, and nothing else; and never did two
// copies of a container of one pod run at a time.
func TestRandomHistoriesOfTheAPI(t *testing.T) {
	t.Parallel()
	for i := range 3 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			m, x := besieged(t)
			defer x.Heal()
			m.start(t)
			m.untilReady(t)
			s := &saga{member: m, t: t, x: x, random: dice(t), ns: m.plane.Namespace(t), names: []string{fmt.Sprint("ann-", i), fmt.Sprint("bob-", i), fmt.Sprint("cid-", i)}, there: map[string]*guest{}}
			defer func() {
				if t.Failed() {
					t.Logf("what happened:\n%s", strings.Join(s.told, "\n"))
				}
			}()
			s.edit()
			for range 30 {
				s.step()
				<-time.After(time.Duration(s.random.IntN(400)) * time.Millisecond)
			}
			if s.back != nil {
				s.comeBack()
			}
			s.make(s.names[0]) // so that there is one
			s.tell("rest")
			began := time.Now()
			eventually(t, s.settled)
			t.Logf("at rest after %v", time.Since(began))
			for _, name := range s.names {
				if err := onceEach(m.history.of(name)); err != nil {
					t.Error(err)
				}
			}
			for _, g := range s.there {
				g.remove()
			}
			s.tell("end")
			eventually(t, func() error { return s.nothingBut(nil) })
		})
	}
}

// onceEach is neverTwice for each version of a pod alone: one that is forced out of the API may still be ending when the next
// one of its name begins.
func onceEach(events []*runtimeapi.ContainerEventResponse) error {
	by := map[string][]*runtimeapi.ContainerEventResponse{}
	for _, e := range events {
		uid := e.GetPodSandboxStatus().GetMetadata().GetUid()
		if len(e.ContainersStatuses) > 0 {
			by[uid] = append(by[uid], e)
		}
	}
	for _, one := range by {
		ran := slices.ContainsFunc(one, func(e *runtimeapi.ContainerEventResponse) bool {
			return slices.ContainsFunc(e.ContainersStatuses, func(c *runtimeapi.ContainerStatus) bool { return c.StartedAt != 0 })
		})
		if err := neverTwice(one); ran && err != nil {
			return err
		}
	}
	return nil
}
