package nodeapi

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// selection is which objects of a kind are asked for.
type selection struct {
	kind      *kind
	namespace string
	labels    labels.Selector
	fields    fields.Selector
}

func (q *request) selection() (selection, error) {
	s := selection{kind: q.kind, namespace: q.name.namespace}
	var err error
	if s.labels, err = labels.Parse(q.URL.Query().Get("labelSelector")); err != nil {
		return s, badRequest("labelSelector: %v", err)
	}
	if s.fields, err = fields.ParseSelector(q.URL.Query().Get("fieldSelector")); err != nil {
		return s, badRequest("fieldSelector: %v", err)
	}
	known := q.kind.set(q.kind.blank())
	for _, want := range s.fields.Requirements() {
		if !known.Has(want.Field) {
			return s, badRequest("fieldSelector: %s have no field %q that can be asked for", q.kind.name, want.Field)
		}
	}
	if q.name.name != "" {
		s.fields = fields.AndSelectors(s.fields, fields.OneTermEqualSelector("metadata.name", q.name.name))
	}
	return s, nil
}

func (s selection) has(o object) bool {
	return (s.namespace == "" || o.GetNamespace() == s.namespace) && s.labels.Matches(labels.Set(o.GetLabels())) && s.fields.Matches(s.kind.set(o))
}

// list answers with all objects that are asked for, or has them watched. There is no end of a list that another request would
// bring: limit is passed over.
func (a *API) list(w http.ResponseWriter, q *request) error {
	asTable, err := wantsTable(q.Request)
	if err != nil {
		return err
	}
	s, err := q.selection()
	if err != nil {
		return err
	}
	if watch, _ := strconv.ParseBool(q.URL.Query().Get("watch")); watch || q.URL.Query().Has("watch") && q.URL.Query().Get("watch") == "" {
		return a.watch(w, q, s, asTable)
	}
	all, version, _ := a.world.list(q.Context(), q.kind)
	all = slices.DeleteFunc(all, func(o object) bool { return !s.has(o) })
	text := strconv.FormatUint(version, 10)
	if asTable {
		t, err := q.kind.table.of(all, text, true, q.URL.Query().Get("includeObject"), a.now())
		if err != nil {
			return err
		}
		a.answer(w, http.StatusOK, t)
		return nil
	}
	a.answer(w, http.StatusOK, struct {
		metav1.TypeMeta `json:",inline"`
		metav1.ListMeta `json:"metadata"`
		Items           []object `json:"items"`
	}{metav1.TypeMeta{APIVersion: "v1", Kind: q.kind.kind + "List"}, metav1.ListMeta{ResourceVersion: text}, append([]object{}, all...)})
	return nil
}

// get answers with one object.
func (a *API) get(w http.ResponseWriter, q *request) error {
	asTable, err := wantsTable(q.Request)
	if err != nil {
		return err
	}
	o := a.world.get(q.Context(), q.kind, q.name)
	if o == nil {
		return q.notFound()
	}
	return a.show(w, q, http.StatusOK, o, asTable)
}

// show answers with an object, or with the table of it.
func (a *API) show(w http.ResponseWriter, q *request, code int, o object, asTable bool) error {
	if !asTable {
		a.answer(w, code, o)
		return nil
	}
	t, err := q.kind.table.of([]object{o}, o.GetResourceVersion(), true, q.URL.Query().Get("includeObject"), a.now())
	if err == nil {
		a.answer(w, code, t)
	}
	return err
}

// seconds reads a number of seconds of a query; none is otherwise.
func (q *request) seconds(field string, otherwise time.Duration) (time.Duration, error) {
	text := q.URL.Query().Get(field)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0, badRequest("%s: %q is not a number of seconds", field, text)
	}
	if n == 0 {
		return otherwise, nil
	}
	return time.Duration(n) * time.Second, nil
}
