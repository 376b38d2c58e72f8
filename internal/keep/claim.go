package keep

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Mark is the file in the state directory that says which Store in memory is its own.
const Mark = "bosun.kept"

// OpenFor opens the Store in memory of a state directory. What another one has left there goes first, and one that was emptied
// meanwhile, as `kubeadm reset` does, is another one: its pods are not this node's any more, and there are Secrets among it.
func OpenFor(root, dir string) (*Store, error) {
	ours, err := os.ReadFile(filepath.Join(root, Mark))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read whose kept pods are in %s: %w", dir, err)
	}
	theirs, _ := os.ReadFile(filepath.Join(dir, Mark)) // none: not ours
	if len(ours) > 0 && string(ours) == string(theirs) {
		return Open(dir, false)
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("remove the kept pods of another state directory: %w", err)
	}
	s, err := Open(dir, false)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	mark := []byte(rand.Text() + "\n")
	for _, place := range []string{dir, root} { // a mark that a crash cut short matches nothing
		if err := os.WriteFile(filepath.Join(place, Mark), mark, 0o600); err != nil {
			return nil, fmt.Errorf("say whose kept pods are in %s: %w", dir, err)
		}
	}
	return s, nil
}
