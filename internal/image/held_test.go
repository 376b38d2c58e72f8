package image

import (
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"
)

// TestHeldImage holds that a pod goes on with the image that it has had, whatever its policy says: but only one that is there, and
// that it may use (behaviours 164, 189).
func TestHeldImage(t *testing.T) {
	jane, joe := secret("jane"), secret("joe")
	synctest.Test(t, func(t *testing.T) {
		f, b := &fake{pull: private("jane")}, &book{}
		p := verifier(f, b, NeverVerifyPreloadedImages)
		got, err := p.Ensure(t.Context(), Request{Image: app, Policy: v1.PullAlways, By: jane})
		if err != nil || !got.Pulled {
			t.Fatalf("%+v, %v", got, err)
		}
		again := Request{Image: app, Policy: v1.PullAlways, By: jane, Held: got.ID}
		if same, err := p.Ensure(t.Context(), again); err != nil || !same.Present || same.ID != got.ID || f.pulls != 1 {
			t.Errorf("%+v, %v, %d pulls", same, err, f.pulls)
		}
		other := again
		other.By = joe
		if same, err := p.Ensure(t.Context(), other); err == nil {
			t.Errorf("who may not pull it has %+v", same)
		}
		gone := again
		gone.Held = "sha256:gone"
		pulls := f.pulls
		if same, err := p.Ensure(t.Context(), gone); err != nil || !same.Pulled || f.pulls != pulls+1 {
			t.Errorf("%+v, %v, %d pulls", same, err, f.pulls)
		}
	})
}
