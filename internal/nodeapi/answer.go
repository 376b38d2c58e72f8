package nodeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/bosun-project/bosun/internal/manifest"
)

// badRequest is an error of the client's.
func badRequest(format string, args ...any) error {
	return apierrors.NewBadRequest(fmt.Sprintf(format, args...))
}

// statusError is an error with a code of its own.
func statusError(code int, reason metav1.StatusReason, format string, args ...any) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: fmt.Sprintf(format, args...),
	}}
}

func methodNotAllowed(format string, args ...any) error {
	return statusError(http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed, format, args...)
}

func forbidden(k *kind, name, format string, args ...any) error {
	return apierrors.NewForbidden(schema.GroupResource{Resource: k.name}, name, fmt.Errorf(format, args...))
}

// refuse answers with an error, as a Status.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var known apierrors.APIStatus
	var text *manifest.Error
	var long *http.MaxBytesError
	status := metav1.Status{}
	switch {
	case errors.As(err, &known):
		status = known.Status()
	case errors.As(err, &text):
		status = apierrors.NewBadRequest(listed(text.Messages())).ErrStatus
	case errors.As(err, &long):
		status = apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d bytes", long.Limit)).ErrStatus
	default:
		if r.Context().Err() == nil {
			a.cfg.Log.Warn("a request to the node's API fails", "method", r.Method, "path", r.URL.Path, "err", err)
		}
		status = apierrors.NewInternalError(err).ErrStatus
	}
	a.status(w, status)
}

func listed(messages []string) string {
	out := ""
	for i, m := range messages {
		if i > 0 {
			out += "; "
		}
		out += m
	}
	return out
}

// status answers with a Status.
func (a *API) status(w http.ResponseWriter, s metav1.Status) {
	s.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	code := int(s.Code)
	if code < 200 || code > 599 {
		code = http.StatusInternalServerError
	}
	if s.Details != nil && s.Details.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(s.Details.RetryAfterSeconds)))
	}
	a.answer(w, code, s)
}

// answer sends a value as JSON.
func (a *API) answer(w http.ResponseWriter, code int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		a.cfg.Log.Error("an answer of the node's API cannot be written as JSON", "err", err)
		http.Error(w, "the answer cannot be written as JSON", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n')) // a client that has left needs no answer
}
