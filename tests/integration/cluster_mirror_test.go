package integration

import (
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/names"
)

// mirror waits for the mirror pod of a static pod, one of another UID than before's, that is as wanted.
func (m *member) mirror(t *testing.T, b *box, before *v1.Pod, what string, wanted func(*v1.Pod) bool) *v1.Pod {
	t.Helper()
	var p *v1.Pod
	eventually(t, func() error {
		var err error
		if p, err = m.api.CoreV1().Pods(metav1.NamespaceDefault).Get(t.Context(), b.full(), metav1.GetOptions{}); err != nil {
			return err
		}
		if before != nil && p.UID == before.UID {
			return fmt.Errorf("the mirror pod %s is still the one before", p.Name)
		}
		if !wanted(p) {
			return fmt.Errorf("the mirror pod %s is not %s: %+v", p.Name, what, p.Status)
		}
		return nil
	})
	return p
}

// A static pod has a mirror in the API, through which it is seen, and which has no power over it: deleted it comes back.
// It changes with the manifest and goes with it (behaviours 13-15, 281, 315).
func TestMirrorPods(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	n := m.untilReady(t)
	const spec = `
spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: SHELL, env: [{name: EDITION, value: "1"}], command: [sh, -c, 'echo edition $EDITION; trap "exit 0" TERM; while :; do sleep 0.1; done']}]}`
	b := m.pod(t, "shown", spec)
	p := m.mirror(t, b, nil, "ready", isReady)
	uid := b.uid()
	has(t, "annotations", p.Annotations, map[string]string{names.ConfigMirror: uid, names.ConfigHash: uid, names.ConfigSource: "file"})
	if p.Annotations[names.ConfigSeen] == "" || string(p.UID) == uid {
		t.Errorf("the mirror has UID %s, annotations %v", p.UID, p.Annotations)
	}
	if o := p.OwnerReferences; len(o) != 1 || o[0].Kind != "Node" || o[0].Name != m.name || o[0].UID != n.UID || o[0].Controller == nil || !*o[0].Controller {
		t.Errorf("the mirror is owned by %+v", o)
	}
	same(t, "restarts", apiStatus(p, "main").RestartCount, 0)
	running := b.untilRunning("main")
	if got := apiStatus(p, "main").ContainerID; got != "containerd://"+running.Id {
		t.Errorf("the mirror tells of container %s, running is %s", got, running.Id)
	}
	same(t, "its log", m.kubectl(t, "default", "logs", b.full()), "edition 1\n")
	same(t, "what it answers", m.kubectl(t, "default", "exec", b.full(), "--", "sh", "-c", "echo $EDITION"), "1\n")
	eventually(t, func() error {
		return containsAll(m.kubectl(t, "default", "describe", "pod", b.full()), "Events:", "Container started")
	})

	m.kubectl(t, "default", "delete", "pod", b.full(), "--wait=false")
	second := m.mirror(t, b, p, "ready", isReady)
	same(t, "annotation", second.Annotations[names.ConfigMirror], uid)
	m.kubectl(t, "default", "delete", "pod", b.full(), "--grace-period=0", "--force")
	third := m.mirror(t, b, second, "ready", isReady)
	if now := b.untilRunning("main"); now.Id != running.Id {
		t.Errorf("the static pod runs in container %s, ran in %s", now.Id, running.Id)
	}

	b.write(m.text("shown", strings.Replace(spec, `"1"`, `"2"`, 1)))
	fourth := m.mirror(t, b, third, "ready", isReady)
	if hash := fourth.Annotations[names.ConfigMirror]; hash == uid || hash != b.uid() {
		t.Errorf("the mirror of the new edition stands for %s, the one before was %s", hash, uid)
	}
	same(t, "the new edition's log", m.kubectl(t, "default", "logs", b.full()), "edition 2\n")
	b.remove()
	eventually(t, func() error {
		_, err := m.api.CoreV1().Pods(metav1.NamespaceDefault).Get(t.Context(), b.full(), metav1.GetOptions{})
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the mirror is still there (%v)", err)
		}
		return nil
	})
	b.awaitGone()
}

// Manifests that come, change and go while their mirrors are deleted end in one mirror for each that is there.
func TestMirrorPodsAfterMuchChange(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	throw := dice(t)
	const count = 4
	spec := func(edition int) string {
		return fmt.Sprintf("spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX, env: [{name: E, value: '%d'}]}]}", edition)
	}
	var boxes [count]*box
	for i := range boxes {
		boxes[i] = m.pod(t, fmt.Sprint("restless", i), spec(0))
	}
	for step := range 30 {
		b := boxes[throw.IntN(count)]
		switch throw.IntN(4) {
		case 0:
			b.remove()
		case 1:
			_, _ = m.plane.Kubectl(t.Context(), "delete", "pod", b.full(), "--grace-period=0", "--force") // it may not be there
		default:
			b.write(m.text(b.name, spec(step)))
		}
	}
	for i, b := range boxes {
		b.write(m.text(b.name, spec(100+i)))
		m.mirror(t, b, nil, "the last edition's and ready", func(p *v1.Pod) bool {
			return isReady(p) && p.Annotations[names.ConfigMirror] == b.uid() && p.Spec.Containers[0].Env[0].Value == fmt.Sprint(100+i)
		})
	}
}
