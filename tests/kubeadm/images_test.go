package kubeadm

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// version is that of kubeadm and of the cluster it makes.
const version = "v1.37.1"

// controlPlane are the images of the control plane under the names that this kubeadm wants, as files for the runtime: each has the
// program that `make tools` built and nothing else.
var controlPlane = sync.OnceValues(func() ([]string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(root, ".cache", "bin")
	cache, err := exec.Command(filepath.Join(root, "tools", "cachedir.sh")).Output()
	if err != nil {
		return nil, fmt.Errorf("ask for the cache: %w", err)
	}
	list, err := exec.Command(filepath.Join(bin, "kubeadm"), "config", "images", "list", "--kubernetes-version="+version).Output()
	if err != nil {
		return nil, fmt.Errorf("ask kubeadm for its images: %w", err)
	}
	recipes, err := os.MkdirTemp("", "images")
	if err != nil {
		return nil, err
	}
	out := filepath.Join(recipes, "out")
	var tars []string
	for image := range strings.FieldsSeq(string(list)) {
		name, _, _ := strings.Cut(path.Base(image), ":")
		switch name {
		case "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler":
		default:
			continue
		}
		if err := writeRecipe(filepath.Join(recipes, name), image, filepath.Join(bin, name)); err != nil {
			return nil, err
		}
		tars = append(tars, filepath.Join(out, name+".tar"))
	}
	build := exec.Command("go", "run", "-trimpath", "-buildvcs=false", ".", "-cache", strings.TrimSpace(string(cache)), "-out", out, recipes)
	build.Dir = filepath.Join(root, "tools", "mkimage")
	if said, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the images of the control plane: %w: %s", err, said)
	}
	return tars, nil
})

// writeRecipe describes an image with one program for tools/mkimage.
func writeRecipe(dir, image, program string) error {
	bin := filepath.Join(dir, "rootfs", "usr", "local", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"name": image, "directories": map[string]string{"tmp": "1777"}, "config": map[string]any{"Env": []string{"PATH=/usr/local/bin"}}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "image.json"), text, 0o644); err != nil {
		return err
	}
	return os.Symlink(program, filepath.Join(bin, filepath.Base(program)))
}

func controlPlaneImages(t *testing.T) []string {
	t.Helper()
	tars, err := controlPlane()
	if err != nil {
		t.Fatal(err)
	}
	return tars
}
