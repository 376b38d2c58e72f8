package keep

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	authentication "k8s.io/api/authentication/v1"
	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	node "k8s.io/api/node/v1"
	resource "k8s.io/api/resource/v1"
	storage "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

const podKind = "Pod"

// suffix ends the name of each file of a Store; others are what a crash left half written.
const suffix = ".json"

// Store is a directory that only root can read. It is safe for concurrent use; of two writers of one object the last wins.
type Store struct {
	dir  string
	sync bool
}

// Open makes the directory if it is missing, and refuses one that others than this user could have put files into.
// Durable stores reach the disk before a call returns.
func Open(dir string, durable bool) (*Store, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fmt.Errorf("make the place for kept pods: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the directory of kept pods: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return nil, fmt.Errorf("look at the directory of kept pods: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(owner.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is not a directory that only this user can read and write: remove it", dir)
	}
	return &Store{dir: dir, sync: durable}, nil
}

// InMemory is a place for a Store that a reboot empties; false if the machine has none. The key tells apart agents of one
// machine, such as by their state directories.
func InMemory(key string) (string, bool) {
	sum := sha256.Sum256([]byte(key))
	for _, parent := range []string{"/run", "/dev/shm"} {
		var fs unix.Statfs_t
		if unix.Statfs(parent, &fs) == nil && (fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC) {
			return filepath.Join(parent, "bosun-kept-"+hex.EncodeToString(sum[:8])), true
		}
	}
	return "", false
}

// Pods are the pods that were kept. A file that cannot be read costs its pod only.
func (s *Store) Pods() ([]*v1.Pod, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list the kept pods: %w", err)
	}
	var pods []*v1.Pod
	var wrong []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), podKind+"-") || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		p := &v1.Pod{}
		if err := s.read(e.Name(), p); err != nil {
			wrong = append(wrong, err)
			continue
		}
		if p.UID == "" || s.file(podKind, "", string(p.UID)) != e.Name() {
			wrong = append(wrong, fmt.Errorf("kept file %s holds another pod than its name says", filepath.Join(s.dir, e.Name())))
			continue
		}
		pods = append(pods, p)
	}
	return pods, errors.Join(wrong...)
}

// KeepPod keeps a pod as it is now, and DropPod forgets it.
func (s *Store) KeepPod(p *v1.Pod) error {
	return s.write(s.file(podKind, "", string(p.UID)), p)
}

// DropPod forgets a pod; one that is not kept is no error.
func (s *Store) DropPod(uid types.UID) error { return s.drop(s.file(podKind, "", string(uid))) }

// Keep keeps an object as it is now; the name may be empty, for a list of all there are. Its kind must be one that Load knows.
func (s *Store) Keep(kind, namespace, name string, object runtime.Object) error {
	if empty(kind) == nil {
		return fmt.Errorf("objects of kind %s cannot be kept", kind)
	}
	return s.write(s.file(kind, namespace, name), object)
}

// Load returns an object as it was kept; false if it is not.
func (s *Store) Load(kind, namespace, name string) (runtime.Object, bool) {
	object := empty(kind)
	if object == nil || s.read(s.file(kind, namespace, name), object) != nil {
		return nil, false
	}
	if of, ok := object.(metav1.Object); ok && (of.GetNamespace() != namespace || of.GetName() != name) {
		return nil, false
	}
	return object, true
}

// empty is an object of a kind; nil if such are not kept.
func empty(kind string) runtime.Object {
	switch kind {
	case "ConfigMap":
		return &v1.ConfigMap{}
	case "Secret":
		return &v1.Secret{}
	case "ServiceList":
		return &v1.ServiceList{}
	case "RuntimeClassList":
		return &node.RuntimeClassList{}
	case "ClusterTrustBundleList":
		return &certificates.ClusterTrustBundleList{}
	case "PersistentVolumeClaim":
		return &v1.PersistentVolumeClaim{}
	case "PersistentVolume":
		return &v1.PersistentVolume{}
	case "ResourceClaim":
		return &resource.ResourceClaim{}
	case "CSIDriverList":
		return &storage.CSIDriverList{}
	case "ServiceAccount":
		return &v1.ServiceAccount{}
	case "TokenRequest":
		return &authentication.TokenRequest{}
	}
	return nil
}

// Drop forgets an object; one that is not kept is no error.
func (s *Store) Drop(kind, namespace, name string) error {
	return s.drop(s.file(kind, namespace, name))
}

// DropObjectsBefore forgets the objects that were kept last before a time, and what a crash left half written. Pods stay.
func (s *Store) DropObjectsBefore(t time.Time) error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("list the kept objects: %w", err)
	}
	var wrong []error
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || strings.HasPrefix(e.Name(), podKind+"-") || e.Name() == Mark || !info.ModTime().Before(t) {
			continue
		}
		wrong = append(wrong, s.drop(e.Name()))
	}
	return errors.Join(wrong...)
}

// file names the file of an object by a hash: whatever its name holds, it is one file of this directory.
func (s *Store) file(kind, namespace, name string) string {
	sum := sha256.Sum256([]byte(namespace + "/" + name))
	return kind + "-" + hex.EncodeToString(sum[:16]) + suffix
}

func (s *Store) read(file string, into any) error {
	text, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil {
		return fmt.Errorf("read kept file: %w", err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("kept file %s cannot be understood: %w", filepath.Join(s.dir, file), plain(err))
	}
	return nil
}

// plain takes away what an error of JSON quotes: the file may hold a Secret.
func plain(err error) error {
	var at *json.SyntaxError
	if errors.As(err, &at) {
		return fmt.Errorf("bad JSON at byte %d", at.Offset)
	}
	return errors.New("its fields are not those of the object")
}

func (s *Store) write(file string, from any) (err error) {
	text, err := json.Marshal(from)
	if err != nil {
		return fmt.Errorf("write kept file %s: %w", file, err)
	}
	f, err := os.CreateTemp(s.dir, ".writing-") // mode 0600
	if err != nil {
		return fmt.Errorf("write kept file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write kept file %s: %w", filepath.Join(s.dir, file), err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text)
	if err == nil && s.sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), filepath.Join(s.dir, file)); err != nil {
		return err
	}
	return s.settle()
}

func (s *Store) drop(file string) error {
	if err := os.Remove(filepath.Join(s.dir, file)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("drop kept file: %w", err)
	}
	return s.settle()
}

// settle makes the disk know the directory as it is now.
func (s *Store) settle() error {
	if !s.sync {
		return nil
	}
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
