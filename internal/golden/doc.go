// Package golden compares what the code answers with what somebody has read and agreed to: files of a test's testdata
// directory. `go test ./internal/NAME -rewrite` writes them anew; the difference is then reviewed as behaviour, not as text.
package golden
