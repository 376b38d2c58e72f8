// Package collector is a collector of traces for tests: it takes spans as OTLP over gRPC and hands them out.
package collector
