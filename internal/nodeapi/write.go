package nodeapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"regexp"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/bosun-project/bosun/internal/given"
	"github.com/bosun-project/bosun/internal/manifest"
)

// body reads the JSON of a request. Clients of Go's library send some objects as protobuf; they are written as JSON first, so that
// there is one way in. into is what the protobuf holds.
func (q *request) body(into unmarshaler) ([]byte, error) {
	text, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	switch kind, _, _ := mime.ParseMediaType(q.Header.Get("Content-Type")); kind {
	case "", "application/json", "application/yaml":
		return text, nil
	case runtime.ContentTypeProtobuf:
		raw, found := bytes.CutPrefix(text, []byte("k8s\x00"))
		var unknown runtime.Unknown
		if !found || unknown.Unmarshal(raw) != nil || q.kind.name == pods && dangerous.Match(unknown.Raw) || into.Unmarshal(unknown.Raw) != nil {
			return nil, badRequest("the body is not a %s in protobuf", q.kind.kind)
		}
		if o, ok := into.(object); ok {
			o.GetObjectKind().SetGroupVersionKind(schema.FromAPIVersionAndKind(unknown.APIVersion, unknown.Kind))
		}
		return json.Marshal(into)
	default:
		return nil, statusError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType, "the API of a lone node reads application/json, not %q", kind)
	}
}

// dangerous finds what may be a quantity so large or so long that reading it takes hours. Of JSON, package manifest looks closer.
var dangerous = regexp.MustCompile(`[0-9.][eE][+-]?[0-9]{3,}|[0-9.]{100,}`)

// unmarshaler is what can be read from protobuf.
type unmarshaler interface{ Unmarshal(data []byte) error }

// read takes in the object of a request's body.
func (q *request) read() (given.Object, error) {
	into, _ := q.kind.blank().(unmarshaler) // all of them are
	text, err := q.body(into)
	if err != nil {
		return nil, err
	}
	return q.decode(text)
}

// decode makes an object of the kind that the path names of a text.
func (q *request) decode(text []byte) (given.Object, error) {
	if q.kind.name == namespaces {
		return decodeNamespace(text)
	}
	one, err := manifest.One(text)
	if err != nil {
		return nil, err
	}
	o, ok := one.(given.Object)
	if !ok || o.GetObjectKind().GroupVersionKind().Kind != q.kind.kind {
		return nil, badRequest("the object is a %s: want a %s", one.GetObjectKind().GroupVersionKind().Kind, q.kind.kind)
	}
	switch namespace := o.GetNamespace(); {
	case namespace == "":
		o.SetNamespace(q.name.namespace)
	case namespace != q.name.namespace:
		return nil, badRequest("the namespace of the provided object does not match the namespace sent on the request: %q, %q", namespace, q.name.namespace)
	}
	return o, nil
}

// valid makes of a decoded object one that can be used.
func (a *API) valid(q *request, o given.Object) (given.Object, error) {
	var wrong field.ErrorList
	meta := metaOf(o)
	kept := metav1.ObjectMeta{
		Name: meta.Name, Namespace: meta.Namespace, Labels: meta.Labels, Annotations: meta.Annotations, UID: meta.UID, Generation: meta.Generation,
		CreationTimestamp: meta.CreationTimestamp, DeletionTimestamp: meta.DeletionTimestamp, DeletionGracePeriodSeconds: meta.DeletionGracePeriodSeconds,
	}
	switch x := o.(type) {
	case *v1.Pod:
		x.ObjectMeta, x.Status = kept, v1.PodStatus{}
		var p *v1.Pod
		p, wrong = manifest.Given(x, a.cfg.NodeName)
		o = p
	case *v1.ConfigMap:
		wrong = manifest.ConfigMap(x)
		x.ObjectMeta = kept
	case *v1.Secret:
		wrong = manifest.Secret(x)
		x.ObjectMeta = kept
	case *v1.Namespace:
		kept.Namespace = ""
		x.ObjectMeta, x.Spec, x.Status = kept, v1.NamespaceSpec{}, v1.NamespaceStatus{Phase: v1.NamespaceActive}
		wrong = validNamespace(x)
	}
	if len(wrong) > 0 {
		return nil, apierrors.NewInvalid(kindOf(q.kind).GroupKind(), meta.Name, wrong)
	}
	return o, nil
}

// create takes in a new object.
func (a *API) create(w http.ResponseWriter, q *request) error {
	if !q.kind.writable {
		return methodNotAllowed("%s cannot be created here: %s", q.kind.name, q.kind.why)
	}
	if q.name.namespace == "" && q.kind.namespaced {
		return badRequest("a %s has a namespace: want /api/v1/namespaces/NAMESPACE/%s", q.kind.singular, q.kind.name)
	}
	asTable, err := wantsTable(q.Request)
	if err != nil {
		return err
	}
	dry, err := q.dryRun()
	if err != nil {
		return err
	}
	o, err := q.read()
	if err != nil {
		return err
	}
	if o.GetName() == "" && o.GetGenerateName() != "" {
		o.SetName(o.GetGenerateName() + suffix())
	}
	o.SetGenerateName("")
	o.SetUID(uuid.NewUUID())
	if q.kind.name == namespaces { // it is the same one while something is in it
		o.SetUID(uidOf(namespaces, "", o.GetName(), ""))
	}
	o.SetCreationTimestamp(metav1.Time{Time: a.now().UTC()}.Rfc3339Copy())
	o.SetDeletionTimestamp(nil)
	o.SetDeletionGracePeriodSeconds(nil)
	o.SetGeneration(0)
	if q.kind.name == pods {
		o.SetGeneration(1)
	}
	if o, err = a.valid(q, o); err != nil {
		return err
	}
	q.name.name = o.GetName()
	a.writing.Lock()
	defer a.writing.Unlock()
	there := a.world.get(q.Context(), q.kind, q.name)
	if q.kind.name == namespaces {
		there = nil // one that only is there because something is in it may be made
	}
	if there != nil || a.world.held(q.kind, q.name) != nil {
		err := apierrors.NewAlreadyExists(q.kind.resource(), q.name.name)
		if origin := a.world.origin(q.kind, q.name); origin != "" {
			err.ErrStatus.Message += ": it comes from " + origin
		}
		return err
	}
	if !dry {
		if err := a.cfg.Store.Put(o); err != nil {
			return err
		}
		return a.show(w, q, http.StatusCreated, a.world.get(q.Context(), q.kind, q.name), asTable)
	}
	return a.show(w, q, http.StatusCreated, o, asTable)
}

// suffix is the end of a name that is made up.
func suffix() string {
	const letters = "bcdfghjklmnpqrstvwxz2456789" // which make no words
	out := make([]byte, 5)
	for i := range out {
		out[i] = letters[rand.IntN(len(letters))]
	}
	return string(out)
}

func (q *request) dryRun() (bool, error) {
	switch all := q.URL.Query()["dryRun"]; {
	case len(all) == 0:
		return false, nil
	case len(all) == 1 && all[0] == "All":
		return true, nil
	}
	return false, badRequest("dryRun: want All")
}

// given returns the object that a request wants to change, as it is shown and as it is kept. What comes from a manifest is not
// changed here.
func (a *API) given(q *request) (shown object, kept given.Object, err error) {
	shown, kept = a.world.get(q.Context(), q.kind, q.name), a.world.held(q.kind, q.name)
	switch origin := a.world.origin(q.kind, q.name); {
	case shown == nil:
		return nil, nil, q.notFound()
	case q.kind.name == namespaces && kept == nil: // it is there because something is in it
		return shown, shown, nil
	case kept == nil || kept.GetUID() != shown.GetUID():
		if origin == "" {
			origin = "what another source wanted of the node before"
		}
		return nil, nil, forbidden(q.kind, q.name.name, "it comes from %s: change it there, or remove it there", origin)
	}
	return shown, kept, nil
}

// change replaces or patches an object.
func (a *API) change(w http.ResponseWriter, q *request) error {
	if !q.kind.writable {
		return forbidden(q.kind, q.name.name, "%s", q.kind.why)
	}
	asTable, err := wantsTable(q.Request)
	if err != nil {
		return err
	}
	dry, err := q.dryRun()
	if err != nil {
		return err
	}
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return err
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	shown, kept, err := a.given(q)
	if err != nil {
		return err
	}
	var next given.Object
	if q.Method == http.MethodPut {
		q.Body = io.NopCloser(bytes.NewReader(body))
		next, err = q.read()
	} else if body, err = patched(q, shown, body); err == nil {
		next, err = q.decode(body)
	}
	if err != nil {
		return err
	}
	if next, err = a.successor(q, shown, kept, next); err != nil {
		return err
	}
	if !dry && !equality.Semantic.DeepEqual(kept, next) {
		if err := a.cfg.Store.Put(next); err != nil {
			return err
		}
	}
	if dry {
		return a.show(w, q, http.StatusOK, next, asTable)
	}
	return a.show(w, q, http.StatusOK, a.world.get(q.Context(), q.kind, q.name), asTable)
}

// successor is the object that takes the place of kept, if next may.
func (a *API) successor(q *request, shown object, kept, next given.Object) (given.Object, error) {
	switch uid, version := next.GetUID(), next.GetResourceVersion(); {
	case next.GetName() != q.name.name:
		return nil, badRequest("the name of the object (%s) does not match the name on the URL (%s)", next.GetName(), q.name.name)
	case uid != "" && uid != kept.GetUID():
		return nil, apierrors.NewConflict(q.kind.resource(), q.name.name, fmt.Errorf("its UID is %s, not %s", kept.GetUID(), uid))
	case version != "" && version != shown.GetResourceVersion():
		return nil, apierrors.NewConflict(q.kind.resource(), q.name.name, fmt.Errorf("the object has been modified; please apply your changes to the latest version and try again"))
	}
	next.SetUID(kept.GetUID())
	next.SetCreationTimestamp(kept.GetCreationTimestamp())
	next.SetDeletionTimestamp(kept.GetDeletionTimestamp())
	next.SetDeletionGracePeriodSeconds(kept.GetDeletionGracePeriodSeconds())
	next.SetGeneration(kept.GetGeneration())
	next, err := a.valid(q, next)
	if err != nil {
		return nil, err
	}
	var wrong field.ErrorList
	switch x := next.(type) {
	case *v1.Pod:
		wrong = podChange(kept.(*v1.Pod), x)
	case *v1.ConfigMap:
		wrong = configMapChange(kept.(*v1.ConfigMap), x)
	case *v1.Secret:
		wrong = secretChange(kept.(*v1.Secret), x)
	}
	if len(wrong) > 0 {
		return nil, invalid(q, wrong)
	}
	return next, nil
}

// remove deletes an object: a pod with its grace, the others at once.
func (a *API) remove(w http.ResponseWriter, q *request) error {
	if !q.kind.writable {
		return forbidden(q.kind, q.name.name, "%s", q.kind.why)
	}
	dry, err := q.dryRun()
	if err != nil {
		return err
	}
	options, err := q.deleteOptions()
	if err != nil {
		return err
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	shown, kept, err := a.given(q)
	if err != nil {
		return err
	}
	if p := options.Preconditions; p != nil {
		if p.UID != nil && *p.UID != kept.GetUID() || p.ResourceVersion != nil && *p.ResourceVersion != shown.GetResourceVersion() {
			return apierrors.NewConflict(q.kind.resource(), q.name.name, fmt.Errorf("it is not the one that the preconditions name"))
		}
	}
	if p, ok := kept.(*v1.Pod); ok {
		return a.removePod(w, q, p, options.GracePeriodSeconds, dry)
	}
	if !dry {
		err := a.empty(q)
		if err == nil {
			err = a.cfg.Store.Drop(given.KeyOf(kept))
		}
		if err != nil {
			return err
		}
	}
	a.status(w, metav1.Status{Status: metav1.StatusSuccess, Code: http.StatusOK, Details: &metav1.StatusDetails{Name: q.name.name, Kind: q.kind.name, UID: kept.GetUID()}})
	return nil
}

// removePod asks the node to end a pod; Run takes it out of the store when it has. A second request may only leave it less time.
func (a *API) removePod(w http.ResponseWriter, q *request, p *v1.Pod, asked *int64, dry bool) error {
	grace := int64(v1.DefaultTerminationGracePeriodSeconds)
	if s := p.Spec.TerminationGracePeriodSeconds; s != nil {
		grace = *s
	}
	if asked != nil {
		grace = *asked
	}
	if before := p.DeletionGracePeriodSeconds; before != nil && *before <= grace {
		a.answer(w, http.StatusOK, a.world.get(q.Context(), q.kind, q.name))
		return nil
	}
	next := p.DeepCopy()
	a.markDeleted(next, grace)
	if dry {
		a.answer(w, http.StatusOK, next)
		return nil
	}
	if err := a.cfg.Store.Put(next); err != nil {
		return err
	}
	a.answer(w, http.StatusOK, a.world.get(q.Context(), q.kind, q.name))
	return nil
}

// deleteOptions are those of the body, or of the query.
func (q *request) deleteOptions() (metav1.DeleteOptions, error) {
	var options metav1.DeleteOptions
	body, err := q.body(&options)
	if err != nil {
		return options, err
	}
	options = metav1.DeleteOptions{}
	if len(bytes.TrimSpace(body)) > 0 {
		if err := json.Unmarshal(body, &options); err != nil {
			return options, badRequest("the body is no DeleteOptions: %v", err)
		}
	}
	if q.URL.Query().Has("gracePeriodSeconds") {
		s, err := q.seconds("gracePeriodSeconds", 0)
		if err != nil {
			return options, err
		}
		n := int64(s.Seconds())
		options.GracePeriodSeconds = &n
	}
	if s := options.GracePeriodSeconds; s != nil && (*s < 0 || *s > 1<<31) {
		return options, badRequest("gracePeriodSeconds: %d is not a number of seconds", *s)
	}
	return options, nil
}

func invalid(q *request, wrong field.ErrorList) error {
	return apierrors.NewInvalid(kindOf(q.kind).GroupKind(), q.name.name, wrong)
}
