package image

import (
	"context"
	"errors"
	"fmt"
	"slices"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/credential"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/reason"
)

// What Config.Checked is told, as upstream counts it.
const (
	FreeToAll   = "credentialPolicyAllowed"
	Known       = "credentialRecordFound"
	NotKnown    = "mustAuthenticate"
	CheckFailed = "error"
)

// mayUse tells whether a pod may use an image that is on the node without pulling it (behaviour 164). The error tells that
// this is not known.
func (p *Puller) mayUse(ctx context.Context, r Request, name string, img *runtimeapi.Image) (bool, error) {
	if p.records == nil {
		return true, nil
	}
	if p.verify == NeverVerify {
		p.checked(FreeToAll)
		return true, nil
	}
	if err := p.records.settle(ctx, p.idOf); err != nil {
		p.checked(CheckFailed)
		return false, inspectError(ctx, r.Image, name, err)
	}
	ref, repository := refOf(img, name), repositoryOf(name)
	g, pulled := p.records.known(name, ref, named(img, repository))
	switch {
	case !pulled && p.verify.free(repository, p.allowed), g.Node:
		p.checked(FreeToAll)
		return true, nil
	case !pulled, p.keyring == nil:
		p.checked(NotKnown)
		return false, nil
	}
	logins, account, err := p.keyring.Own(ctx, name, r.By)
	if ctx.Err() != nil {
		return false, left(ctx, r.Image)
	}
	c := p.records.claimOf(logins, account)
	if !g.admits(c) {
		p.checked(NotKnown)
		if err != nil { // the pull shows whether it matters
			p.log.Warn("the service account of a pod is not known, so the image is pulled for it", "image", repository, "err", err)
		}
		return false, nil
	}
	p.checked(Known)
	p.records.proven(ctx, ref, repository, g, c)
	return true, nil
}

// named tells whether an image has a name in a repository.
func named(img *runtimeapi.Image, repository string) bool {
	in := func(name string) bool { return repositoryOf(name) == repository }
	return slices.ContainsFunc(img.RepoTags, in) || slices.ContainsFunc(img.RepoDigests, in)
}

// idOf is the runtime's ID of an image, empty if it does not have it.
func (p *Puller) idOf(ctx context.Context, name string) (string, error) {
	img, err := p.service.ImageStatus(ctx, &runtimeapi.ImageSpec{Image: name})
	if err != nil || img == nil {
		return "", err
	}
	return refOf(img, name), nil
}

// refOf is what a record is kept under; terse runtimes give an image no ID.
func refOf(img *runtimeapi.Image, name string) string {
	if img.Id == "" {
		return name
	}
	return img.Id
}

// unrecorded says that a pull was not begun, because nobody would know of it after a crash.
func unrecorded(image string, err error) error {
	return &Error{Reason: reason.ErrImagePull, Image: image, cause: err,
		Message: fmt.Sprintf("the pull of image %q cannot be recorded: %v", image, credential.Scrub(err.Error()))}
}

// torn tells that it is not known whether a pull that failed has brought the image.
func torn(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, fault.ErrUnavailable) || errors.Is(err, fault.ErrTimeout)
}
