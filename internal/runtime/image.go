package runtime

import (
	"context"
	"errors"

	"github.com/bosun-project/bosun/internal/fault"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// PullImage fetches an image and returns its reference. Only ctx limits it (behaviour 166). sandbox tells the
// runtime which pod the image is for; nil is allowed, as is auth.
func (c *Client) PullImage(
	ctx context.Context, image *cri.ImageSpec, auth *cri.AuthConfig, sandbox *cri.PodSandboxConfig,
) (string, error) {
	what := "pull image " + image.GetImage()
	r, err := call(ctx, c, "pull_image", what, noLimit, c.images.PullImage,
		&cri.PullImageRequest{Image: image, Auth: auth, SandboxConfig: sandbox})
	if err == nil && r.GetImageRef() == "" {
		err = missing(what, "a reference")
	}
	return r.GetImageRef(), err
}

// ImageStatus returns an image, or nil if the node does not have it.
func (c *Client) ImageStatus(ctx context.Context, image *cri.ImageSpec) (*cri.Image, error) {
	what := "inspect image " + image.GetImage()
	r, err := call(ctx, c, "image_status", what, c.timeout, c.images.ImageStatus, &cri.ImageStatusRequest{Image: image})
	if errors.Is(err, fault.ErrNotFound) {
		return nil, nil
	}
	if err == nil && r.GetImage() != nil && r.GetImage().GetId() == "" {
		return nil, missing(what, "an ID")
	}
	return r.GetImage(), err
}

// ListImages returns all images of the node.
func (c *Client) ListImages(ctx context.Context) ([]*cri.Image, error) {
	const operation, what = "list_images", "list images"
	r, err := call(ctx, c, operation, what, c.timeout, c.images.ListImages, &cri.ListImagesRequest{})
	if !errors.Is(err, fault.ErrExhausted) {
		return r.GetImages(), err
	}
	images, streamErr := gather(ctx, c, operation, what, c.images.StreamImages, &cri.StreamImagesRequest{},
		(*cri.StreamImagesResponse).GetImages)
	if streamErr != nil {
		return nil, err
	}
	return images, nil
}

// RemoveImage removes an image. One that is gone is no error.
func (c *Client) RemoveImage(ctx context.Context, image *cri.ImageSpec) error {
	_, err := call(ctx, c, "remove_image", "remove image "+image.GetImage(), c.timeout, c.images.RemoveImage,
		&cri.RemoveImageRequest{Image: image})
	return err
}

// ImageFsInfo tells where images and containers' own layers are kept, and how much of the disk they use.
func (c *Client) ImageFsInfo(ctx context.Context) (*cri.ImageFsInfoResponse, error) {
	return call(ctx, c, "image_fs_info", "ask for the image filesystem", c.timeout, c.images.ImageFsInfo,
		&cri.ImageFsInfoRequest{})
}
