package trace

import (
	"context"
	"encoding/hex"
	"strings"
)

// Place is a place in a trace: below a span. It is what the headers of a call carry (W3C trace context).
type Place struct {
	Trace [16]byte
	Span  [8]byte
	// Kept tells that the spans of this trace are sent to the collector.
	Kept bool
	// State is what others have added to the headers, as it came.
	State string
}

// Known tells whether the place is one.
func (p Place) Known() bool { return p.Trace != [16]byte{} && p.Span != [8]byte{} }

// The headers, in lower case as gRPC wants them.
const (
	parentHeader = "traceparent"
	stateHeader  = "tracestate"
)

// mostState bounds the header that is only passed on.
const mostState = 512

// Parse reads the headers traceparent and tracestate. It returns a place that is not known if they do not say one.
func Parse(parent, state string) Place {
	const length = len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-00")
	if len(parent) < length || parent != strings.ToLower(parent) || parent[2] != '-' || parent[35] != '-' || parent[52] != '-' {
		return Place{}
	}
	version, flags := [1]byte{}, [1]byte{}
	var p Place
	for _, part := range []struct {
		into []byte
		text string
	}{{version[:], parent[:2]}, {p.Trace[:], parent[3:35]}, {p.Span[:], parent[36:52]}, {flags[:], parent[53:55]}} {
		if _, err := hex.Decode(part.into, []byte(part.text)); err != nil {
			return Place{}
		}
	}
	// Version 0 has nothing more; later ones may add parts after another dash, and 255 is none.
	if version[0] == 255 || version[0] == 0 && len(parent) > length || len(parent) > length && parent[length] != '-' || !p.Known() {
		return Place{}
	}
	p.Kept = flags[0]&1 == 1
	if len(state) <= mostState {
		p.State = state
	}
	return p
}

// String is the header traceparent.
func (p Place) String() string {
	flags := "00"
	if p.Kept {
		flags = "01"
	}
	return "00-" + hex.EncodeToString(p.Trace[:]) + "-" + hex.EncodeToString(p.Span[:]) + "-" + flags
}

type placeKey struct{}

// At returns a context that is at a place.
func At(ctx context.Context, p Place) context.Context {
	return context.WithValue(ctx, placeKey{}, p)
}

// Of returns the place of a context, and one that is not known if it has none.
func Of(ctx context.Context) Place {
	p, _ := ctx.Value(placeKey{}).(Place)
	return p
}
