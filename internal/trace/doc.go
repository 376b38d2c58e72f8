// Package trace owns the spans that this program sends to a collector (behaviour 337): where in a trace a context is, which
// traces are kept, and the conversation with the collector, which is OTLP over gRPC.
//
// It decides nothing about what a span is about. Without a Tracer there are no spans, and nobody who could make some is asked.
// Why the protocol is written out by hand is in docs/decisions/0026-tracing.md.
package trace
