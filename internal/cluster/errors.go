package cluster

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
)

// IsNotFound tells that the API server has no such object.
func IsNotFound(err error) bool { return apierrors.IsNotFound(err) }

// IsConflict tells that the object is not as the caller believed: changed meanwhile, or another of the same name (UID).
func IsConflict(err error) bool { return apierrors.IsConflict(err) }

// AlreadyExists tells that there is an object of that name.
func AlreadyExists(err error) bool { return apierrors.IsAlreadyExists(err) }

// Refused tells that the API server does not know this node (401) or does not let it do that (403).
func Refused(err error) bool { return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) }

// Unreachable tells that the API server could not be asked, did not answer in time, or had no time or was broken (429, 5xx). The same
// request may succeed later; whether it was carried out is not known. A call that ended because its caller ended it is not meant.
func Unreachable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		code := status.Status().Code
		return code == http.StatusTooManyRequests || code >= http.StatusInternalServerError
	}
	return errors.As(err, new(unanswered))
}

// unanswered is an error of a request that got no answer.
type unanswered struct{ cause error }

// Error leaves out the URL: it is long, and the object is named anyway.
func (u unanswered) Error() string {
	if request := (*url.Error)(nil); errors.As(u.cause, &request) {
		return request.Err.Error()
	}
	return u.cause.Error()
}

func (u unanswered) Unwrap() error { return u.cause }

// unansweredUnlessStatus marks an error for Unreachable, unless it is an answer.
func unansweredUnlessStatus(err error) error {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) || errors.As(err, new(*rest.RequestConstructionError)) {
		return err
	}
	return unanswered{err}
}
