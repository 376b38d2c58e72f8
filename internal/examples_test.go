package internal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bosun-project/bosun/internal/manifest"
	"github.com/bosun-project/bosun/internal/pod"
)

// TestExamplesAreGoodManifests: people start from the examples.
func TestExamplesAreGoodManifests(t *testing.T) {
	paths, err := filepath.Glob("../examples/*/*.yaml")
	if err != nil || len(paths) < 4 {
		t.Fatalf("found %d examples: %v", len(paths), err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c, err := manifest.ReadAll(text, manifest.From{Source: pod.FromFile, Origin: path, NodeName: "node", Objects: true})
		if err != nil || len(c.Pods)+len(c.ConfigMaps)+len(c.Secrets) != 1 {
			t.Errorf("%s: %+v: %v", path, c, err)
		}
	}
}
