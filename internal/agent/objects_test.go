package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/keep"
)

// TestKeptAtOnePlace: when --offline-restart is given or taken away, the Secrets that were kept elsewhere do not stay there.
func TestKeptAtOnePlace(t *testing.T) {
	root := t.TempDir()
	onDisk := filepath.Join(root, "kept")
	inMemory, there := keep.InMemory(root)
	if there {
		t.Cleanup(func() { _ = os.RemoveAll(inMemory) })
	}
	for _, offline := range []bool{true, false, true} {
		a := &Agent{cfg: &config.Config{RootDir: root, OfflineRestart: offline}, log: slog.New(slog.DiscardHandler)}
		store, err := a.openKept()
		if err != nil || store == nil && (offline || there) {
			t.Fatalf("--offline-restart=%v: %v %v", offline, store, err)
		}
		if _, err := os.Stat(onDisk); os.IsNotExist(err) == offline {
			t.Errorf("--offline-restart=%v: on disk: %v", offline, err)
		}
		if _, err := os.Stat(inMemory); there && os.IsNotExist(err) != offline {
			t.Errorf("--offline-restart=%v: in memory: %v", offline, err)
		}
	}
}
