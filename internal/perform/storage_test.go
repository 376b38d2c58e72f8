package perform

import (
	"slices"
	"testing"

	"github.com/bosun-project/bosun/internal/translate"
)

// Volumes bring along devices and groups, each group once.
func TestStorage(t *testing.T) {
	group := int64(7)
	in := &translate.Inputs{Volumes: map[string]translate.Volume{
		"disk": {Device: "/dev/x", ReadOnly: true}, "a": {HostPath: "/a", Group: &group}, "b": {HostPath: "/b", Group: &group}, "c": {HostPath: "/c"},
	}}
	storage(in)
	if len(in.BlockDevices) != 1 || in.BlockDevices["disk"] != (translate.BlockDevice{HostPath: "/dev/x", ReadOnly: true}) {
		t.Errorf("devices %v", in.BlockDevices)
	}
	if !slices.Equal(in.Groups, []int64{7}) {
		t.Errorf("groups %v", in.Groups)
	}
}
