package runtime

import (
	"slices"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestUsedImages holds that images of containers count as in use whoever made these and whether they run or not (behaviour 167).
func TestUsedImages(t *testing.T) {
	s := newServer(t)
	s.containers = []*cri.Container{
		{Id: "ours", ImageId: "sha256:1", ImageRef: "docker.io/library/a@sha256:2", Image: &cri.ImageSpec{Image: "docker.io/library/a:1", UserSpecifiedImage: "a:1"}},
		{Id: "foreign", ImageRef: "sha256:3", State: cri.ContainerState_CONTAINER_EXITED},
		{Id: "nameless"},
	}
	c, _ := newClient(t, s, time.Minute)
	got, err := c.UsedImages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if want := []string{"a:1", "docker.io/library/a:1", "docker.io/library/a@sha256:2", "sha256:1", "sha256:3"}; !slices.Equal(got, want) {
		t.Errorf("in use: %q", got)
	}
}
