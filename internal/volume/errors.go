package volume

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/reason"
	"github.com/bosun-project/bosun/internal/translate"
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

// What can be used: worksNow with an API server, worksAlone without.
const (
	worksNow   = "emptyDir, hostPath, configMap, secret, downwardAPI, projected, image, nfs, csi, ephemeral and persistentVolumeClaim"
	worksAlone = "emptyDir, hostPath, nfs, image, downwardAPI and projected (of downwardAPI)"
	// worksClaimed is what a claim may be bound to.
	worksClaimed = "csi, hostPath, local and nfs"
)

// told is an error whose words are those of an event as a whole.
type told struct {
	*translate.ConfigError
	cause error
}

func (t told) Unwrap() []error { return []error{t.ConfigError, t.cause} }

// failed says which step of setting up a persistent volume failed, in upstream's words.
func failed(r *request, step string, err error) error {
	if err == nil {
		return nil
	}
	why := reason.FailedMount
	if strings.HasPrefix(step, "MapVolume.") {
		why = reason.FailedMapVolume
	}
	return tell(why, fmt.Sprintf("%s failed for volume %q : %v", step, r.name(), err), err)
}

// unprocessed says that it is not known what is to be set up.
func unprocessed(r *request, err error) error {
	return tell(reason.FailedMount, fmt.Sprintf(
		"Unable to attach or mount volumes: unmounted volumes=[%s], unattached volumes=[], failed to process volumes=[%s]: error processing PVC %s/%s: %v",
		r.volume.Name, r.volume.Name, r.pod.Namespace, content.ClaimOf(r.pod, r.volume), err), err)
}

func tell(why, message string, cause error) error {
	return told{&translate.ConfigError{Reason: why, Message: message}, cause}
}

// unsupported says that a volume source, or a part of it, cannot be used. It is fault.ErrUnsupported.
type unsupported struct {
	field string
	// why is empty if this version does not know it at all.
	why   string
	works string
}

func (e *unsupported) Error() string {
	return fmt.Sprintf("%s %s; what works: %s", e.field, cmp.Or(e.why, "is not supported by this version of Bosun"), e.works)
}

func (e *unsupported) Is(target error) bool { return target == fault.ErrUnsupported }

// instead says what to use in the place of a source that Bosun does not know; empty if there is nothing to say.
func instead(source string) string {
	switch source {
	case "iscsi", "fc", "rbd", "cephfs", "glusterfs", "flexVolume", "awsElasticBlockStore", "gcePersistentDisk", "azureDisk", "azureFile", "cinder", "vsphereVolume", "portworxVolume":
		return "is not supported by Bosun: use a CSI driver for it"
	}
	return ""
}

// sourceField is where the source of a volume is in its pod, such as spec.volumes[0].emptyDir.
func sourceField(p *v1.Pod, v *v1.Volume) string {
	i := slices.IndexFunc(p.Spec.Volumes, func(x v1.Volume) bool { return x.Name == v.Name })
	return fmt.Sprintf("spec.volumes[%d].%s", i, sourceName(&v.VolumeSource))
}

// sourceName is the field of a volume source that is set, as it is spelt in manifests. One without any is an emptyDir.
func sourceName(s any) string {
	all := reflect.ValueOf(s).Elem()
	for i := range all.NumField() {
		if f := all.Field(i); f.Kind() == reflect.Pointer && !f.IsNil() {
			name, _, _ := strings.Cut(all.Type().Field(i).Tag.Get("json"), ",")
			return name
		}
	}
	return "emptyDir"
}
