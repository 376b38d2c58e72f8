package keep

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/pod"
)

func open(t *testing.T) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "kept")
	s, err := Open(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func named(name string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("u-" + name)}}
}

// TestStoreOfAStateDirectory: what is kept in memory goes on being there for its state directory, and is nothing to one that was
// emptied (kubeadm reset) or to another machine's life.
func TestStoreOfAStateDirectory(t *testing.T) {
	root, dir := filepath.Join(t.TempDir(), "root"), filepath.Join(t.TempDir(), "kept")
	pods := func() (n int) {
		t.Helper()
		s, err := OpenFor(root, dir)
		if err != nil {
			t.Fatal(err)
		}
		found, err := s.Pods()
		if err != nil {
			t.Fatal(err)
		}
		if err := s.KeepPod(named("web")); err != nil {
			t.Fatal(err)
		}
		if err := s.DropObjectsBefore(time.Now().Add(time.Hour)); err != nil { // of earlier lives; the mark is none
			t.Fatal(err)
		}
		return len(found)
	}
	for _, step := range []struct {
		name   string
		before func() error
		want   int
	}{
		{"new", func() error { return nil }, 0},
		{"restarted", func() error { return nil }, 1},
		{"reset", func() error { return os.RemoveAll(root) }, 0},
		{"restarted after the reset", func() error { return nil }, 1},
		{"rebooted", func() error { return os.RemoveAll(dir) }, 0},
		{"the mark was cut short", func() error { return os.Truncate(filepath.Join(root, Mark), 0) }, 0},
		{"both were", func() error {
			return errors.Join(os.Truncate(filepath.Join(root, Mark), 0), os.Truncate(filepath.Join(dir, Mark), 0))
		}, 0},
		{"a store from before there were marks", func() error { return os.Remove(filepath.Join(dir, Mark)) }, 0},
	} {
		if err := step.before(); err != nil {
			t.Fatal(err)
		}
		if got := pods(); got != step.want {
			t.Errorf("%s: %d pods, want %d", step.name, got, step.want)
		}
	}
}

func TestStore(t *testing.T) {
	s, dir := open(t)
	if err := s.KeepPod(named("web")); err != nil {
		t.Fatal(err)
	}
	secret := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "../../etc/b"}, Data: map[string][]byte{"k": []byte("hush")}}
	if err := s.Keep("Secret", "a", secret.Name, secret); err != nil {
		t.Fatal(err)
	}
	got, ok := s.Load("Secret", "a", "../../etc/b")
	if back, is := got.(*v1.Secret); !ok || !is || string(back.Data["k"]) != "hush" {
		t.Errorf("the Secret came back as %+v, %v", got, ok)
	}
	if _, ok := s.Load("ConfigMap", "a", "../../etc/b"); ok {
		t.Error("a Secret is no ConfigMap")
	}
	if err := s.Keep("Node", "", "n", &v1.Node{}); err == nil {
		t.Error("a kind that cannot be read back was kept")
	}
	if err := s.Keep("ServiceList", "", "", &v1.ServiceList{Items: []v1.Service{{}}}); err != nil {
		t.Error(err)
	}
	if got, ok := s.Load("ServiceList", "", ""); !ok || len(got.(*v1.ServiceList).Items) != 1 {
		t.Errorf("the services came back as %+v, %v", got, ok)
	}
	again, err := Open(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	pods, err := again.Pods()
	if err != nil || len(pods) != 1 || pods[0].Name != "web" {
		t.Errorf("pods %v, %v", pods, err)
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, _ := e.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	if err := again.DropPod("u-web"); err != nil {
		t.Fatal(err)
	}
	if err := again.DropPod("u-web"); err != nil {
		t.Errorf("dropped twice: %v", err)
	}
	if err := again.Drop("Secret", "a", "../../etc/b"); err != nil {
		t.Fatal(err)
	}
	if err := again.Drop("ServiceList", "", ""); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
}

// A file that is damaged costs its pod only, and what it says is not repeated: it may be a Secret.
func TestDamaged(t *testing.T) {
	s, dir := open(t)
	for _, name := range []string{"good", "cut", "swapped", "odd"} {
		if err := s.KeepPod(named(name)); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) string { return filepath.Join(dir, s.file(podKind, "", "u-"+name)) }
	put := func(name, text string) {
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("cut", `{"metadata":{"name":"hush`)
	put("swapped", `{"metadata":{"name":"web","uid":"other"}}`)
	put("odd", `{"metadata":"hush"}`)
	if err := os.WriteFile(filepath.Join(dir, ".writing-1"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	pods, err := s.Pods()
	if len(pods) != 1 || pods[0].Name != "good" {
		t.Errorf("pods %v", pods)
	}
	if err == nil || strings.Contains(err.Error(), "hush") || strings.Count(err.Error(), "kept file") != 3 {
		t.Errorf("said: %v", err)
	}
}

func TestOpenRefusesWhatOthersCanWrite(t *testing.T) {
	parent := t.TempDir()
	open := filepath.Join(parent, "open")
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o770); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(parent, "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{open, link} {
		if _, err := Open(dir, false); err == nil {
			t.Errorf("%s was taken", dir)
		}
	}
}

// A pod is kept as it is wanted now, and forgotten only when the API server is known not to name it any more.
func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dir := open(t)
		began := time.Now()
		for _, name := range []string{"old", "gone"} {
			if err := s.KeepPod(named(name)); err != nil {
				t.Fatal(err)
			}
		}
		var accepted latest.Cell[map[types.UID]*pod.Desired]
		known := false
		l := NewLoop(LoopConfig{
			Store: s, Accepted: accepted.Get, Kept: []types.UID{"u-old", "u-gone"}, Log: slog.New(slog.DiscardHandler),
			Synced: func() bool { return known },
			Wanted: func(uid types.UID) bool { return !known || uid == "u-old" || uid == "u-web" },
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { _ = l.Run(ctx); close(ended) }()
		kept := func() (names []string) {
			synctest.Wait()
			pods, err := s.Pods()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range pods {
				names = append(names, p.Name+p.Spec.NodeName)
			}
			return names
		}
		if got := kept(); len(got) != 2 {
			t.Errorf("before the server spoke: %v", got)
		}
		known = true
		accepted.Set(map[types.UID]*pod.Desired{"u-web": {Pod: named("web")}})
		if got := kept(); len(got) != 2 || strings.Contains(strings.Join(got, " "), "gone") {
			t.Errorf("after the server spoke: %v", got)
		}
		for _, name := range []string{"old", "new"} {
			if err := s.Keep("Secret", "a", name, &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: name}}); err != nil {
				t.Fatal(err)
			}
			at := map[string]time.Time{"old": began.Add(-time.Second), "new": began.Add(time.Second)}[name]
			if err := os.Chtimes(filepath.Join(dir, s.file("Secret", "a", name)), at, at); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(sweepAfter - time.Second)
		if _, ok := s.Load("Secret", "a", "old"); !ok {
			t.Error("an object went before its pod could have asked for it")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		_, old := s.Load("Secret", "a", "old")
		if _, fresh := s.Load("Secret", "a", "new"); old || !fresh {
			t.Errorf("after the sweep: old %v, new %v", old, fresh)
		}
		newer := named("web")
		newer.Spec.NodeName = "-2"
		accepted.Set(map[types.UID]*pod.Desired{"u-web": {Pod: newer}})
		if got := strings.Join(kept(), " "); !strings.Contains(got, "web-2") {
			t.Errorf("the newer version: %v", got)
		}
		cancel()
		<-ended
	})
}

func TestInMemory(t *testing.T) {
	one, ok := InMemory("/var/lib/kubelet")
	two, _ := InMemory("/var/lib/other")
	if ok && one == two {
		t.Errorf("two agents share %s", one)
	}
}
