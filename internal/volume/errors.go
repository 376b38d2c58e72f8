package volume

import (
	"fmt"
	"reflect"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/fault"
)

// SetupError says which volume of which pod could not be set up. Err alone is what follows 'MountVolume.SetUp failed
// for volume "x" : ' in the event.
type SetupError struct {
	// Pod is namespace/name.
	Pod    string
	Volume string
	Err    error
}

// Error implements error.
func (e *SetupError) Error() string {
	return fmt.Sprintf("set up volume %q of pod %s: %v", e.Volume, e.Pod, e.Err)
}

// Unwrap gives the cause.
func (e *SetupError) Unwrap() error { return e.Err }

// worksNow are the volume sources that can be used.
const worksNow = "emptyDir, hostPath, downwardAPI and projected (of downwardAPI)"

// unsupported says that a volume source, or a part of it, is not known. It is fault.ErrUnsupported.
type unsupported struct{ field, works string }

func (e *unsupported) Error() string {
	return fmt.Sprintf("%s is not supported by this version of Bosun; what works: %s", e.field, e.works)
}

func (e *unsupported) Is(target error) bool { return target == fault.ErrUnsupported }

// sourceName is the field of a volume source that is set, as it is spelt in manifests. One without any is an emptyDir.
func sourceName(s *v1.VolumeSource) string { return setField(reflect.ValueOf(s).Elem(), "emptyDir") }

// projectionName is the same for a source of a projected volume.
func projectionName(p *v1.VolumeProjection) string {
	return setField(reflect.ValueOf(p).Elem(), "downwardAPI")
}

// setField is the JSON name of the first pointer in a struct that is not nil.
func setField(v reflect.Value, otherwise string) string {
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			return name
		}
	}
	return otherwise
}
