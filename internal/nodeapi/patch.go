package nodeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// mostOperations bounds a JSON patch, as an API server does.
const mostOperations = 10000

// patched is the text of an object with a patch applied to it.
func patched(q *request, shown object, patch []byte) ([]byte, error) {
	text, err := json.Marshal(shown)
	if err != nil {
		return nil, fmt.Errorf("write %s %s as JSON: %w", q.kind.singular, q.name.name, err)
	}
	kind, _, _ := mime.ParseMediaType(q.Header.Get("Content-Type"))
	var out []byte
	switch types.PatchType(kind) {
	case types.StrategicMergePatchType:
		out, err = strategicpatch.StrategicMergePatch(text, patch, q.kind.blank())
	case types.MergePatchType:
		out, err = jsonpatch.MergePatch(text, patch)
	case types.JSONPatchType:
		out, err = operations(text, patch)
	case types.ApplyYAMLPatchType, types.ApplyCBORPatchType:
		return nil, statusError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType,
			"the API of a lone node does not know whose field is whose, so there is no server-side apply: leave out --server-side")
	default:
		return nil, statusError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType, "the API of a lone node takes no patch of the type %q: "+
			"want %s, %s or %s", kind, types.StrategicMergePatchType, types.MergePatchType, types.JSONPatchType)
	}
	switch {
	case err != nil && q.kind.name == secrets: // the error may show values
		return nil, badRequest("the patch cannot be applied to a Secret")
	case err != nil:
		return nil, badRequest("the patch cannot be applied: %v", err)
	case len(out) > mostBody:
		return nil, badRequest("with the patch the object would have more than %d bytes", mostBody)
	}
	return out, nil
}

func operations(text, patch []byte) ([]byte, error) {
	p, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, err
	}
	if len(p) > mostOperations {
		return nil, fmt.Errorf("it has %d operations: want at most %d", len(p), mostOperations)
	}
	// An operation may copy what others have copied before: a few could ask for all memory there is.
	copies := 0
	for _, operation := range p {
		if operation.Kind() == "copy" {
			copies++
		}
	}
	if copies > 1 {
		return nil, errors.New("it copies more than once")
	}
	return p.Apply(text)
}

// podChange tells what of a pod's change is not possible: what a node can do with a pod that runs is what it can in a cluster.
func podChange(old, next *v1.Pod) field.ErrorList {
	may := next.Spec.DeepCopy()
	same := len(may.Containers) == len(old.Spec.Containers) && len(may.InitContainers) == len(old.Spec.InitContainers)
	if same {
		for i := range may.Containers {
			may.Containers[i].Image = old.Spec.Containers[i].Image
		}
		for i := range may.InitContainers {
			may.InitContainers[i].Image = old.Spec.InitContainers[i].Image
		}
	}
	if was, is := old.Spec.ActiveDeadlineSeconds, may.ActiveDeadlineSeconds; is != nil && (was == nil || *is <= *was) {
		may.ActiveDeadlineSeconds = was
	}
	if tolerates(may.Tolerations, old.Spec.Tolerations) {
		may.Tolerations = old.Spec.Tolerations
	}
	if !same || !equality.Semantic.DeepEqual(may, &old.Spec) {
		return field.ErrorList{field.Forbidden(field.NewPath("spec"), "pod updates may not change fields other than `spec.containers[*].image`, "+
			"`spec.initContainers[*].image`, `spec.activeDeadlineSeconds` (it may be set, or become less), `spec.tolerations` (only additions to existing tolerations); "+
			"`kubectl replace --force` ends the pod and begins it anew")}
	}
	if !equality.Semantic.DeepEqual(next.Spec, old.Spec) {
		next.Generation = old.Generation + 1
	}
	return nil
}

// tolerates tells whether all old tolerations are among the new ones.
func tolerates(all, old []v1.Toleration) bool {
	for i := range old {
		found := false
		for j := range all {
			found = found || equality.Semantic.DeepEqual(all[j], old[i])
		}
		if !found {
			return false
		}
	}
	return true
}

const isImmutable = "field is immutable when `immutable` is set"

func configMapChange(old, next *v1.ConfigMap) field.ErrorList {
	if old.Immutable == nil || !*old.Immutable {
		return nil
	}
	var wrong field.ErrorList
	if next.Immutable == nil || !*next.Immutable {
		wrong = append(wrong, field.Forbidden(field.NewPath("immutable"), isImmutable))
	}
	if !equality.Semantic.DeepEqual(old.Data, next.Data) {
		wrong = append(wrong, field.Forbidden(field.NewPath("data"), isImmutable))
	}
	if !equality.Semantic.DeepEqual(old.BinaryData, next.BinaryData) {
		wrong = append(wrong, field.Forbidden(field.NewPath("binaryData"), isImmutable))
	}
	return wrong
}

func secretChange(old, next *v1.Secret) field.ErrorList {
	var wrong field.ErrorList
	if next.Type != old.Type {
		wrong = append(wrong, field.Invalid(field.NewPath("type"), next.Type, "field is immutable"))
	}
	if old.Immutable == nil || !*old.Immutable {
		return wrong
	}
	if next.Immutable == nil || !*next.Immutable {
		wrong = append(wrong, field.Forbidden(field.NewPath("immutable"), isImmutable))
	}
	if !equality.Semantic.DeepEqual(old.Data, next.Data) {
		wrong = append(wrong, field.Forbidden(field.NewPath("data"), isImmutable))
	}
	return wrong
}
