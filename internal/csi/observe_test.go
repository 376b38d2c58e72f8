package csi_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/csi"
	"github.com/bosun-project/bosun/internal/testbed/csidriver"
)

// TestObserve: metrics hear of each call to a driver and how it ended.
func TestObserve(t *testing.T) {
	real := csidriver.Start(t, csidriver.Options{Name: driverName})
	r := csi.NewRegistry(0)
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	var heard []string
	r.Observe = func(driver, method, code string, took time.Duration) {
		if driver != driverName || took < 0 {
			t.Errorf("%s took %v", driver, took)
		}
		heard = append(heard, method+" "+code)
	}
	if err := r.Register(t.Context(), driverName, real.Socket, nil); err != nil {
		t.Fatal(err)
	}
	d, err := r.Driver(driverName)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Unpublish(gone, "v", "/nowhere"); err == nil {
		t.Error("a call that nobody waits for succeeded")
	}
	for _, want := range []string{"/csi.v1.Node/NodeGetInfo OK", "/csi.v1.Node/NodeUnpublishVolume Canceled"} {
		if !slices.Contains(heard, want) {
			t.Errorf("heard %q, want %q among it", heard, want)
		}
	}
}
