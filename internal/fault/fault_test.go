package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/bosun-project/bosun/internal/fault"
)

func TestMarkedErrorKeepsItsTextAndIsBoth(t *testing.T) {
	cause := fmt.Errorf("read x: %w", io.ErrUnexpectedEOF)
	err := fmt.Errorf("stop y: %w", fault.As(fault.ErrUnavailable, cause))
	if got, want := err.Error(), "stop y: read x: unexpected EOF"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if !errors.Is(err, fault.ErrUnavailable) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v lost its class or its cause", err)
	}
	if errors.Is(err, fault.ErrNotFound) {
		t.Errorf("%v is of a class it was not marked with", err)
	}
	if fault.As(fault.ErrTimeout, nil) != nil {
		t.Error("no error became one by being marked")
	}
	if fault.As(nil, cause) != cause {
		t.Error("an error without a class was changed")
	}
}
