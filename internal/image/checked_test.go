package image

import (
	"slices"
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// TestChecked: metrics hear what came of each question whether a pod may use an image that is there.
func TestChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := &fake{pull: private("jane")}, &book{}
		f.keep(&runtimeapi.Image{Id: "sha256:preloaded"}, "reg.io/team/tool:v1")
		var said []string
		p := New(Config{Service: f, Keyring: keyring{}, Records: b.life(), Verify: NeverVerifyPreloadedImages, Checked: func(s string) { said = append(said, s) }})
		ask(t, p, secret("jane"), v1.PullIfNotPresent, app) // it is not there: nothing to ask
		ask(t, p, secret("jane"), v1.PullIfNotPresent, app)
		ask(t, p, nobody, v1.PullNever, app)
		ask(t, p, nobody, v1.PullIfNotPresent, "reg.io/team/tool:v1")
		p.verify = NeverVerify
		ask(t, p, nobody, v1.PullIfNotPresent, app)
		if want := []string{Known, NotKnown, FreeToAll, FreeToAll}; !slices.Equal(said, want) {
			t.Errorf("said %q, want %q", said, want)
		}
	})
}
