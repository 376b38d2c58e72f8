package trace

import (
	"log/slog"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of the fields of OTLP 1, file opentelemetry/proto/trace/v1/trace.proto and those it includes.
const (
	exportResourceSpans = 1

	resourceSpansResource = 1
	resourceSpansScopes   = 2

	resourceAttributes = 1

	scopeSpansScope = 1
	scopeSpansSpans = 2

	scopeName = 1

	spanTraceID    = 1
	spanID         = 2
	spanState      = 3
	spanParent     = 4
	spanName       = 5
	spanKind       = 6
	spanStart      = 7
	spanEnd        = 8
	spanAttributes = 9
	spanStatus     = 15
	spanFlags      = 16

	statusMessage = 2
	statusCode    = 3
	statusError   = 2

	keyValueKey   = 1
	keyValueValue = 2

	valueString = 1
	valueBool   = 2
	valueInt    = 3
)

// scope is who speaks, as spans say it.
const scope = "github.com/bosun-project/bosun"

// request is what is sent to the collector: an ExportTraceServiceRequest.
func (t *Tracer) request(spans []*Span) []byte {
	var scoped []byte
	scoped = message(scoped, scopeSpansScope, text(nil, scopeName, scope))
	for _, s := range spans {
		scoped = message(scoped, scopeSpansSpans, s.encode())
	}
	resource := attribute(nil, resourceAttributes, slog.String("service.name", t.cfg.Service))
	resource = attribute(resource, resourceAttributes, slog.String("host.name", t.cfg.Host))
	all := message(nil, resourceSpansResource, resource)
	all = message(all, resourceSpansScopes, scoped)
	return message(nil, exportResourceSpans, all)
}

func (s *Span) encode() []byte {
	b := raw(nil, spanTraceID, s.place.Trace[:])
	b = raw(b, spanID, s.place.Span[:])
	b = text(b, spanState, s.place.State)
	if s.parent != [8]byte{} {
		b = raw(b, spanParent, s.parent[:])
	}
	b = text(b, spanName, s.name)
	b = number(b, spanKind, uint64(s.kind))
	b = moment(b, spanStart, s.began)
	b = moment(b, spanEnd, s.ended)
	for _, a := range s.attrs {
		b = attribute(b, spanAttributes, a)
	}
	if s.failed {
		b = message(b, spanStatus, number(text(nil, statusMessage, s.fault), statusCode, statusError))
	}
	return protowire.AppendFixed32(protowire.AppendTag(b, spanFlags, protowire.Fixed32Type), 1)
}

func attribute(b []byte, field protowire.Number, a slog.Attr) []byte {
	kv := text(nil, keyValueKey, a.Key)
	var value []byte
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindBool:
		n := uint64(0)
		if v.Bool() {
			n = 1
		}
		value = number(nil, valueBool, n)
	case slog.KindInt64:
		value = number(nil, valueInt, uint64(v.Int64()))
	case slog.KindUint64:
		value = number(nil, valueInt, v.Uint64())
	case slog.KindDuration:
		value = number(nil, valueInt, uint64(v.Duration()))
	default:
		value = raw(nil, valueString, []byte(v.String())) // an empty one, too, is a value
	}
	return message(b, field, message(kv, keyValueValue, value))
}

func raw(b []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
}

func message(b []byte, field protowire.Number, value []byte) []byte { return raw(b, field, value) }

func text(b []byte, field protowire.Number, value string) []byte {
	if value == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), value)
}

func number(b []byte, field protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), value)
}

func moment(b []byte, field protowire.Number, at time.Time) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), uint64(max(at.UnixNano(), 0)))
}

// The fields of an answer that takes only a part of what was sent.
const (
	answerPartial    = 1
	partialRejected  = 1
	partialMessage   = 2
	unknownRejection = "the collector did not say why"
)

// rejected reads an answer of the collector: how many spans it did not take, and why.
func rejected(answer []byte) (n int64, why string) {
	partial, _ := fields(answer, answerPartial)
	if len(partial) == 0 {
		return 0, ""
	}
	why = unknownRejection
	if told, _ := fields(partial, partialMessage); len(told) > 0 {
		why = string(told)
	}
	_, count := fields(partial, partialRejected)
	return int64(count), why
}

// fields returns the last value of a field, whichever type it has; nothing of a message that is none.
func fields(b []byte, want protowire.Number) (value []byte, count uint64) {
	for len(b) > 0 {
		field, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, 0
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(field, kind, b)
		if size < 0 {
			return nil, 0
		}
		if field == want {
			switch kind {
			case protowire.BytesType:
				value, _ = protowire.ConsumeBytes(b)
			case protowire.VarintType:
				count, _ = protowire.ConsumeVarint(b)
			}
		}
		b = b[size:]
	}
	return value, count
}
