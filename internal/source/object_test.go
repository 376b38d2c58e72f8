package source

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/pod"
)

// configText is a manifest of a ConfigMap with one key.
func configText(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {k: %q}\n", name, value)
}

// objects lists what a snapshot holds, as "key=value".
func objects(s Snapshot) string {
	var out []string
	for _, k := range slices.SortedFunc(maps.Keys(s.Objects), func(a, b ObjectKey) int { return strings.Compare(a.String(), b.String()) }) {
		value := ""
		if o := s.Objects[k]; o.ConfigMap != nil {
			value = o.ConfigMap.Data["k"]
		} else {
			value = string(o.Secret.Data["k"])
		}
		out = append(out, k.String()+"="+value)
	}
	return strings.Join(out, " ")
}

func wantObjects(t *testing.T, s Snapshot, want string) {
	t.Helper()
	if got := objects(s); got != want {
		t.Errorf("objects %q, want %q", got, want)
	}
}

func localDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir(), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), book: &notebook{}, local: true}
	d.start(nil)
	return d
}

// ConfigMaps and Secrets live and change as pods do, and a pod stays the pod it is when they change (pains, row 5).
func TestObjectsBesidePods(t *testing.T) {
	d := localDesk(t)
	d.write("a.yaml", podText("web", "i:1")+"---\n"+configText("settings", "1"))
	d.write("b.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: password, namespace: shop}\nstringData: {k: sesame}\n")
	s := d.turn()
	want(t, s, "web=i:1")
	wantObjects(t, s, "configmap default/settings=1 secret shop/password=sesame")
	web, secret := slices.Collect(maps.Values(s.Pods))[0], s.Objects[ObjectKey{"Secret", "shop", "password"}]

	d.write("a.yaml", podText("web", "i:1")+"---\n"+configText("settings", "2"))
	s = d.turn()
	wantObjects(t, s, "configmap default/settings=2 secret shop/password=sesame")
	if slices.Collect(maps.Values(s.Pods))[0] != web || s.Objects[ObjectKey{"Secret", "shop", "password"}] != secret {
		t.Error("what did not change is something else now")
	}
	d.write("a.yaml", podText("web", "i:1")+"---\n"+configText("settings", "3")+"x: y\n") // cannot be used
	s = d.turn()
	wantObjects(t, s, "configmap default/settings=2 secret shop/password=sesame")
	wantProblem(t, s, "a.yaml", "configmap settings", "unknown field")
	ok(t, os.Remove(d.path("b.yaml")))
	d.turn()
	wantObjects(t, d.after(2*Settle), "configmap default/settings=2")
	if d.book.count("sesame") > 0 {
		t.Error("the log shows a Secret")
	}
}

// Two manifests with an object of one name: the one in use stays.
func TestObjectsOfOneName(t *testing.T) {
	d := localDesk(t)
	d.write("b.yaml", configText("settings", "b"))
	d.turn()
	d.write("a.yaml", configText("settings", "a"))
	d.turn()
	s := d.after(2 * Settle)
	wantObjects(t, s, "configmap default/settings=b")
	wantProblem(t, s, "a.yaml", "configmap default/settings", "b.yaml", "rename or remove")
	ok(t, os.Remove(d.path("b.yaml")))
	d.turn()
	s = d.after(2 * Settle)
	wantObjects(t, s, "configmap default/settings=a")
	if len(s.Problems) > 0 {
		t.Errorf("problems: %v", s.Problems)
	}
}

// What only a cluster runs is told of, once, and the rest of the file runs.
func TestDeploymentIsLeftAlone(t *testing.T) {
	d := localDesk(t)
	d.write("a.yaml", podText("web", "i:1")+"---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\n")
	s := d.turn()
	want(t, s, "web=i:1")
	wantProblem(t, s, "a.yaml", `"Deployment" shop`, "write the pod of its template")
	d.write("a.yaml", podText("web", "i:2")+"---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\n")
	want(t, d.turn(), "web=i:2")
	if n := d.book.count("not for a node"); n != 1 {
		t.Errorf("said %d times", n)
	}
	d.write("a.yaml", podText("web", "i:2"))
	if s = d.turn(); len(s.Problems) > 0 {
		t.Errorf("problems: %v", s.Problems)
	}
}

// In a cluster manifests hold pods, and nothing has changed there.
func TestObjectsInACluster(t *testing.T) {
	d := newDesk(t, t.TempDir())
	d.write("a.yaml", podText("web", "i:1")+"---\n"+configText("settings", "1"))
	s := d.turn()
	want(t, s, "")
	wantProblem(t, s, "a.yaml", `"ConfigMap" is not something a node runs by itself`)
}

func TestMergeOfObjects(t *testing.T) {
	file, given := &latest.Cell[Snapshot]{}, &latest.Cell[Snapshot]{}
	book := &notebook{}
	m := NewMerge(book.log(), book.sink, file, given)
	running(t, m.Run)
	one := func(source pod.Source, value string) Snapshot {
		o := &Object{ConfigMap: &v1.ConfigMap{Data: map[string]string{"k": value}}, Source: source}
		o.ConfigMap.Name, o.ConfigMap.Namespace = "m", "default"
		if source == pod.FromFile {
			o.Origin = "/m.yaml"
		}
		return Snapshot{Ready: true, Source: source, Objects: map[ObjectKey]*Object{o.Key(): o}}
	}
	given.Set(one(pod.FromLocal, "given"))
	until(t, m.Cell(), "what was given", func(s Snapshot) bool { return objects(s) == "configmap default/m=given" })
	file.Set(one(pod.FromFile, "file"))
	s := until(t, m.Cell(), "a problem", func(s Snapshot) bool { return len(s.Problems) == 1 })
	wantObjects(t, s, "configmap default/m=given")
	wantProblem(t, s, "/m.yaml", "configmap default/m", "given with kubectl")
	given.Set(Snapshot{Ready: true, Source: pod.FromLocal})
	until(t, m.Cell(), "that of the file", func(s Snapshot) bool { return objects(s) == "configmap default/m=file" && len(s.Problems) == 0 })
}
