// Package integration tests Bosun and its test bed with real containers, on a containerd of its own.
package integration
