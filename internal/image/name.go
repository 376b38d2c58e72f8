package image

import (
	"fmt"

	"github.com/distribution/reference"

	"github.com/bosun-project/bosun/internal/reason"
)

// Normalise returns the name to ask the runtime for: the given one, with :latest added if it has neither tag nor
// digest (behaviour 154). The error is an *Error with reason InvalidImageName.
func Normalise(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", &Error{
			Reason:  reason.InvalidImageName,
			Image:   image,
			Message: fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: %v", image, image, err),
			cause:   err,
		}
	}
	if reference.IsNameOnly(named) {
		return image + ":latest", nil
	}
	return image, nil
}
