package given

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/bosun-project/bosun/internal/latest"
)

// suffix ends the name of each object's file; others are what a crash left half written.
const suffix = ".json"

// Object is a Pod, a ConfigMap, a Secret or a Namespace, with kind, namespace (of a Namespace none) and name.
type Object interface {
	metav1.Object
	runtime.Object
}

// Key names an object.
type Key struct{ Kind, Namespace, Name string }

// KeyOf is the name of an object.
func KeyOf(o Object) Key {
	return Key{o.GetObjectKind().GroupVersionKind().Kind, o.GetNamespace(), o.GetName()}
}

// Content is all there is. Neither it nor its objects are ever changed.
type Content map[Key]Object

// Store keeps objects. It is safe for concurrent use.
type Store struct {
	dir string

	mu  sync.Mutex // held while the disk is written
	now latest.Cell[Content]
}

// Open makes the directory if it is missing, refuses one that others than this user can write, and reads what is there. A file that
// cannot be read costs its object only: bad says which, and it stays where it is.
func Open(dir string) (s *Store, bad, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, nil, fmt.Errorf("make the directory of what is given to the node: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("look at the directory of what is given to the node: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(owner.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return nil, nil, fmt.Errorf("%s is not a directory that only this user can read and write: move it away", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("list what was given to the node: %w", err)
	}
	s = &Store{dir: dir}
	content := Content{}
	var wrong []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !strings.HasSuffix(e.Name(), suffix) {
			_ = os.Remove(path) // a write that a crash cut off
			continue
		}
		o, err := read(path)
		if err == nil && s.path(KeyOf(o)) != path {
			err = fmt.Errorf("%s holds another object than its name says", path)
		}
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		content[KeyOf(o)] = o
	}
	s.now.Set(content)
	return s, errors.Join(wrong...), nil
}

// Content returns all there is, and a channel that is closed when that has changed.
func (s *Store) Content() (Content, <-chan struct{}) { return s.now.Get() }

// Put keeps an object in place of what had its name, on disk before it returns. Nobody may change it any more.
func (s *Store) Put(o Object) error {
	key := KeyOf(o)
	if empty(key.Kind) == nil {
		return fmt.Errorf("objects of kind %s are not kept", key.Kind)
	}
	text, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("write %s %s/%s as JSON: %w", key.Kind, key.Namespace, key.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.replace(s.path(key), text); err != nil {
		return fmt.Errorf("keep %s %s/%s: %w", key.Kind, key.Namespace, key.Name, err)
	}
	next := maps.Clone(s.now.Value())
	next[key] = o
	s.now.Set(next)
	return nil
}

// Drop forgets an object; one that is not there is no error.
func (s *Store) Drop(key Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := os.Remove(s.path(key))
	if err == nil {
		err = s.syncDir()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget %s %s/%s: %w", key.Kind, key.Namespace, key.Name, err)
	}
	next := maps.Clone(s.now.Value())
	delete(next, key)
	s.now.Set(next)
	return nil
}

// path is the file of an object. Namespace and name together may be longer than a file's name.
func (s *Store) path(k Key) string {
	sum := sha256.Sum256([]byte(k.Namespace + "/" + k.Name))
	return filepath.Join(s.dir, strings.ToLower(k.Kind)+"-"+hex.EncodeToString(sum[:16])+suffix)
}

// replace writes a file such that after a crash it is the old or the new one.
func (s *Store) replace(path string, text []byte) error {
	f, err := os.CreateTemp(s.dir, "new-*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return s.syncDir()
}

func (s *Store) syncDir() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// mostBytes bounds a file: nothing that large is ever written.
const mostBytes = 16 << 20

func read(path string) (Object, error) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() > mostBytes {
		return nil, errors.Join(fmt.Errorf("%s is not a file of an object", path), err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read what was given to the node: %w", err)
	}
	var head metav1.TypeMeta
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("%s is not a JSON object", path) // the error may show a Secret's text
	}
	o := empty(head.Kind)
	if o == nil || head.APIVersion != "v1" {
		return nil, fmt.Errorf("%s holds a %q of %q, which this agent does not know", path, head.Kind, head.APIVersion)
	}
	if err := json.Unmarshal(text, o); err != nil {
		return nil, fmt.Errorf("%s does not hold a %s", path, head.Kind)
	}
	if o.GetName() == "" || (o.GetNamespace() == "") != (head.Kind == "Namespace") || o.GetUID() == "" {
		return nil, fmt.Errorf("%s holds a %s without name, namespace or UID", path, head.Kind)
	}
	return o, nil
}

func empty(kind string) Object {
	switch kind {
	case "Pod":
		return &v1.Pod{}
	case "ConfigMap":
		return &v1.ConfigMap{}
	case "Secret":
		return &v1.Secret{}
	case "Namespace":
		return &v1.Namespace{}
	}
	return nil
}
