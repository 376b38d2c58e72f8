package fault

import "errors"

// The classes. An error has at most one of them.
var (
	// ErrUnavailable: the other side is away, restarting, or hung up in the middle of a call. Whether the call did
	// its work is not known.
	ErrUnavailable = errors.New("unavailable")
	// ErrTimeout: the other side did not answer in time. Whether the call did its work is not known.
	ErrTimeout = errors.New("timed out")
	// ErrNotFound: the thing the call was about does not exist.
	ErrNotFound = errors.New("not found")
	// ErrExists: the thing the call was to make exists already.
	ErrExists = errors.New("exists already")
	// ErrUnsupported: the other side does not know this call.
	ErrUnsupported = errors.New("not supported")
	// ErrExhausted: a limit was met: of message size, of requests, of a quota.
	ErrExhausted = errors.New("limit met")
	// ErrDenied: the other side knows who asks and says no, or does not know who asks.
	ErrDenied = errors.New("denied")
	// ErrInvalid: the other side cannot make sense of the request; the same request will fail again.
	ErrInvalid = errors.New("invalid request")
)

// As marks err with a class. The text stays that of err; errors.Is finds both. A nil err stays nil, a nil class
// leaves err as it is.
func As(class, err error) error {
	if err == nil || class == nil {
		return err
	}
	return marked{error: err, class: class}
}

type marked struct {
	error
	class error
}

func (m marked) Unwrap() []error { return []error{m.error, m.class} }
