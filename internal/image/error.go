package image

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	crierrors "k8s.io/cri-api/pkg/errors"

	"github.com/bosun-project/bosun/internal/credential"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/reason"
)

// Error says why an image is not there. It carries no secrets: what the runtime said was scrubbed.
type Error struct {
	// Reason is a word of package reason, the reason of the waiting container: ErrImagePull, ErrImageNeverPull,
	// ImageInspectError, InvalidImageName, RegistryUnavailable or SignatureValidationFailed.
	Reason string
	// Image is the name as it was asked for.
	Image string
	// Message is for people: the message of the waiting container and, after "Failed to pull image", of the event.
	Message string

	cause error
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause, scrubbed; it is marked with its class of package fault.
func (e *Error) Unwrap() error { return e.cause }

// RuntimeAway tells that the runtime could not be asked, so that nothing is known of the image itself: it is worth
// trying again as soon as the runtime is back.
func (e *Error) RuntimeAway() bool {
	if !errors.Is(e.cause, fault.ErrUnavailable) {
		return false
	}
	// A pull that fails as unavailable may be the registry's word that the runtime handed through.
	return e.Reason == reason.ImageInspectError || lostConnection.MatchString(e.cause.Error())
}

// lostConnection finds the words of gRPC for a connection to the runtime that is not there or broke. Registries are
// not on unix sockets.
var lostConnection = regexp.MustCompile(`dial unix|connection error|error reading from server|transport is closing|connection is (draining|closing)`)

// ErrQPS is the cause of a pull refused by the node's own limit (registryPullQPS, registryBurst).
var ErrQPS = errors.New("pull QPS exceeded")

// classes are those that a caller may ask a failure for; see package fault.
var classes = [...]error{fault.ErrUnavailable, fault.ErrTimeout, fault.ErrNotFound, fault.ErrExists, fault.ErrUnsupported,
	fault.ErrExhausted, fault.ErrDenied, fault.ErrInvalid}

// scrubbed rebuilds a runtime's error without secrets and without the words before it that say what was done; its
// class is kept.
func scrubbed(err error, done string, logins []credential.Login) error {
	clean := errors.New(credential.Scrub(strings.TrimPrefix(err.Error(), done+": "), logins...))
	for _, class := range classes {
		if errors.Is(err, class) {
			return fault.As(class, clean)
		}
	}
	return clean
}

// pullError names a failed pull. Runtimes put a word of their own before some errors, which then is the reason
// (behaviour 158). Errs are scrubbed, one for each login that was tried; advice is what kept logins from being found.
func pullError(image string, errs []error, advice error) *Error {
	e := &Error{Reason: reason.ErrImagePull, Image: image, cause: errors.Join(errs...)}
	if len(errs) == 1 {
		e.cause = errs[0]
	}
	var texts []string
	for _, err := range errs {
		switch rest, word := ownWord(err); word {
		case reason.RegistryUnavailable:
			e.Reason = word
			texts = append(texts, fmt.Sprintf("image pull failed for %s because the registry is unavailable%s", image, rest))
		case reason.SignatureValidationFailed:
			e.Reason = word
			texts = append(texts, fmt.Sprintf("image pull failed for %s because the signature validation failed%s", image, rest))
		default:
			texts = append(texts, err.Error())
		}
	}
	e.Message = strings.Join(unique(texts), "; ")
	if advice != nil {
		e.Message += " (not all credentials could be looked up: " + credential.Scrub(advice.Error()) + ")"
	}
	return e
}

// ownWord splits the runtime's own word from the front of what it said.
func ownWord(err error) (rest, word string) {
	text := err.Error()
	for _, known := range []error{crierrors.ErrRegistryUnavailable, crierrors.ErrSignatureValidationFailed} {
		before, rest, found := strings.Cut(text, known.Error())
		if found && (before == "" || strings.HasSuffix(before, "desc = ")) {
			return rest, known.Error()
		}
	}
	return text, ""
}

func unique(texts []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, t := range texts {
		if !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	return out
}
