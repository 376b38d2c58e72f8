package given

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func secret(name, value string) *v1.Secret {
	return &v1.Secret{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-" + name)}, Data: map[string][]byte{"k": []byte(value)}}
}

func open(t *testing.T, dir string) (*Store, error) {
	t.Helper()
	s, bad, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, bad
}

func TestWhatIsGivenSurvives(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "given")
	s, bad := open(t, dir)
	if bad != nil {
		t.Fatal(bad)
	}
	_, newer := s.Content()
	for _, o := range []Object{secret("a", "1"), secret("b", "1"), secret("a", "2")} {
		if err := s.Put(o); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-newer:
	default:
		t.Error("nobody was told")
	}
	for range 2 { // what is not there can be forgotten
		if err := s.Drop(Key{"Secret", "shop", "b"}); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d files: %v", len(entries), err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v: want 0600", info.Mode(), err)
	}
	s, bad = open(t, dir)
	now, _ := s.Content()
	if again, ok := now[Key{"Secret", "shop", "a"}].(*v1.Secret); bad != nil || len(now) != 1 || !ok || string(again.Data["k"]) != "2" {
		t.Errorf("after a restart: %v, %v", now, bad)
	}
}

// One bad file costs its object only; what a crash left half written goes.
func TestBadFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "given")
	s, _ := open(t, dir)
	if err := s.Put(secret("good", "1")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"secret-1.json": `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x","namespace":"y","uid":"z"},"data":{"k":"sesame!"}}`,
		"secret-2.json": `{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x","namespace":"y","uid":"z"}}`, // not the name of its file
		"secret-3.json": `sesame`, "pod-4.json": `{"kind":"Wonder","apiVersion":"v1"}`, "pod-5.json": `{"kind":"Pod","apiVersion":"v1"}`, "new-1234": "{",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "dir.json"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, bad := open(t, dir)
	now, _ := s.Content()
	if len(now) != 1 || bad == nil {
		t.Fatalf("%v, %v", now, bad)
	}
	for _, file := range []string{"secret-1.json", "secret-2.json", "secret-3.json", "pod-4.json", "pod-5.json", "dir.json"} {
		if !strings.Contains(bad.Error(), file) {
			t.Errorf("%s is not named in: %v", file, bad)
		}
	}
	if strings.Contains(bad.Error(), "sesame") {
		t.Errorf("a Secret is shown: %v", bad)
	}
	if _, err := os.Stat(filepath.Join(dir, "new-1234")); !os.IsNotExist(err) {
		t.Error("a half-written file is still there")
	}
}

func TestDirectoryOfOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "given")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Open(dir); err == nil {
		t.Error("a directory that others can read was taken")
	}
}

func TestManyWriters(t *testing.T) {
	s, _ := open(t, filepath.Join(t.TempDir(), "given"))
	done := make(chan error)
	for i := range 8 {
		go func() { done <- s.Put(secret(fmt.Sprint("s", i), "v")) }()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if now, _ := s.Content(); len(now) != 8 {
		t.Errorf("%d objects, want 8", len(now))
	}
}
