package controlplane

import (
	"context"
	"sync"
	"testing"
)

var shared = sync.OnceValues(func() (*Plane, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startDeadline)
	defer cancel()
	return Open(ctx, Options{})
})

// Shared is one control plane for all tests of a binary, brought up when the first asks. It ends with the binary; its
// files go with the temporary directory that testbed.Main makes. Tests that hurt it [Start] their own.
func Shared(tb testing.TB) *Plane {
	tb.Helper()
	p, err := shared()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the API server said at last:\n%s", tail(p.file("kube-apiserver.log"), 1500))
		}
	})
	return p
}
