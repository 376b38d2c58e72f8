package access

import (
	"errors"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Meter counts what the gate does. Its methods may be used by several goroutines and must not block.
type Meter interface {
	// WhoAsked and MayAsked count a question to the API server: whose a token is, and whether somebody may. code is the status of the
	// answer, "<error>" if there was none.
	WhoAsked(code string, took time.Duration)
	MayAsked(code string, took time.Duration)
	// Token counts a token that came; known tells that the answer about it was remembered.
	Token(known bool, took time.Duration)
	// Fetching counts the questions about tokens that begin (1) and end (-1); behind those are counted that wait for the question of
	// somebody else.
	Fetching(change int, behind bool)
	// Fetched counts a question about a token that ended.
	Fetched(ok bool)
	// Certificate counts a client certificate that was accepted, by how long it is still good.
	Certificate(left time.Duration)
}

// noMeter counts nothing.
type noMeter struct{}

func (noMeter) WhoAsked(string, time.Duration) {}
func (noMeter) MayAsked(string, time.Duration) {}
func (noMeter) Token(bool, time.Duration)      {}
func (noMeter) Fetching(int, bool)             {}
func (noMeter) Fetched(bool)                   {}
func (noMeter) Certificate(time.Duration)      {}

// codeOf is the status with which the API server answered a question.
func codeOf(err error) string {
	if err == nil {
		return "201"
	}
	if status := apierrors.APIStatus(nil); errors.As(err, &status) && status.Status().Code > 0 {
		return strconv.Itoa(int(status.Status().Code))
	}
	return "<error>"
}
