package testbed

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Images from `make images`, as the runtime knows them.
const (
	Busybox = "docker.io/library/busybox:latest"
	Nginx   = "docker.io/library/nginx:latest"
	Testbox = "docker.io/bosun/testbox:latest"
)

// tarballs are the paths of the named images, with the pause image; all there are when names is nil.
func tarballs(dir string, names []string) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(dir, "*.tar"))
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no images in %s: run `make tools images` first", dir)
	}
	if names == nil {
		return all, nil
	}
	var chosen []string
	for _, name := range append([]string{"pause"}, names...) {
		path := filepath.Join(dir, name+".tar")
		if !slices.Contains(all, path) {
			return nil, fmt.Errorf("no image %s: `make images` builds it from images/%s", path, name)
		}
		chosen = append(chosen, path)
	}
	return slices.Compact(chosen), nil
}

// importImages returns when CRI lists the images: it hears of them from containerd a moment after the import,
// with no event for others, so this looks again and again.
func (b *Bed) importImages(tars []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startDeadline)
	defer cancel()
	for _, tar := range tars {
		if _, err := b.Ctr(ctx, "images", "import", tar); err != nil {
			return err
		}
	}
	conn, err := b.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	client := runtimeapi.NewImageServiceClient(conn)
	for {
		list, err := client.ListImages(ctx, &runtimeapi.ListImagesRequest{})
		if err != nil {
			return fmt.Errorf("list images: %w", err)
		}
		if len(list.Images) >= len(tars) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("CRI lists %d of %d imported images", len(list.Images), len(tars))
		case <-time.After(5 * time.Millisecond):
		}
	}
}
