package nodestatus_test

import (
	"testing"

	"github.com/bosun-project/bosun/internal/nodestatus"
)

func TestFamilyMismatch(t *testing.T) {
	for _, c := range []struct{ told, now, want string }{
		{"", "10.0.0.1", ""},
		{"10.0.0.2", "10.0.0.1", ""},
		{"::ffff:10.0.0.2", "10.0.0.1", ""},
		{"fd00::1", "fd00::2", ""},
		{"no address", "10.0.0.1", ""},
		{"10.0.0.2", "", ""},
		{"10.0.0.2", "fd00::1", "Kubelet detected an IPv6 node IP (fd00::1), but the status of the pod names an IPv4 node IP (10.0.0.2); pass an explicit `--node-ip` to kubelet to fix this."},
		{"fd00::1", "10.0.0.2", "Kubelet detected an IPv4 node IP (10.0.0.2), but the status of the pod names an IPv6 node IP (fd00::1); pass an explicit `--node-ip` to kubelet to fix this."},
	} {
		if got := nodestatus.FamilyMismatch(c.told, c.now); got != c.want {
			t.Errorf("%s, then %s: %q, want %q", c.told, c.now, got, c.want)
		}
	}
}
