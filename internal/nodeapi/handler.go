package nodeapi

import (
	"fmt"
	"mime"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
)

// mostBody is how many bytes a request may send, as with an API server.
const mostBody = 3 << 20

// request is what a path of the API asks about.
type request struct {
	*http.Request
	kind *kind
	// name is empty for all; its namespace is empty for those of all namespaces.
	name name
	// part is a subresource, such as log.
	part string
}

// Handler serves the API. Whoever reaches it may do everything.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/", a.objects)
	mux.HandleFunc("/openapi/v3/api/v1", a.openAPI)
	mux.HandleFunc("/openapi/v2", a.openAPIv2)
	fixed := map[string]any{
		"/api": metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"},
			ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{}},
		"/apis":       metav1.APIGroupList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroupList"}, Groups: []metav1.APIGroup{}},
		"/api/v1":     a.resources(),
		"/openapi/v3": map[string]any{"paths": map[string]any{"api/v1": map[string]any{"serverRelativeURL": "/openapi/v3/api/v1"}}},
		"/version":    a.version(),
	}
	for path, value := range fixed {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet {
				a.refuse(w, r, methodNotAllowed("%s is not for %s", path, r.Method))
				return
			}
			a.answer(w, http.StatusOK, value)
		})
	}
	for _, path := range []string{"/healthz", "/livez", "/readyz"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.refuse(w, r, statusError(http.StatusNotFound, metav1.StatusReasonNotFound, "the API of a lone node has no %s", r.URL.Path))
	})
	return mux
}

func (a *API) version() version.Info {
	major, minor, _ := strings.Cut(strings.TrimPrefix(a.cfg.Version, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	return version.Info{Major: major, Minor: minor, GitVersion: a.cfg.Version + "+bosun", Platform: "linux"}
}

// objects answers for what is below /api/v1/.
func (a *API) objects(w http.ResponseWriter, r *http.Request) {
	q, err := a.parse(r)
	if err == nil {
		r.Body = http.MaxBytesReader(w, r.Body, mostBody)
		err = a.serve(w, q)
	}
	if err != nil {
		a.refuse(w, r, err)
	}
}

// parse takes a path apart: KIND, KIND/NAME, namespaces/NS/KIND, namespaces/NS/KIND/NAME, each perhaps with a part.
func (a *API) parse(r *http.Request) (*request, error) {
	steps := strings.Split(strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/api/v1/"), "/"), "/")
	q := &request{Request: r}
	if len(steps) > 2 && steps[0] == namespaces && a.kind(steps[2]) != nil {
		q.name.namespace = steps[1]
		steps = steps[2:]
	}
	q.kind = a.kind(steps[0])
	if q.kind == nil || q.name.namespace != "" && !q.kind.namespaced || len(steps) > 3 {
		return nil, statusError(http.StatusNotFound, metav1.StatusReasonNotFound, "the API of a lone node has no %s", r.URL.Path)
	}
	if len(steps) > 1 {
		q.name.name = steps[1]
	}
	if len(steps) > 2 {
		q.part = steps[2]
	}
	for _, s := range []string{q.name.namespace, q.name.name} {
		if strings.ContainsAny(s, "%/\\ ") || s == "." || s == ".." {
			return nil, badRequest("%q is no name", s)
		}
	}
	if q.name.name != "" && q.kind.namespaced && q.name.namespace == "" {
		return nil, badRequest("a %s has a namespace: want /api/v1/namespaces/NAMESPACE/%s/%s", q.kind.singular, q.kind.name, q.name.name)
	}
	return q, nil
}

func (a *API) kind(name string) *kind {
	for _, k := range a.world.kinds {
		if k.name == name {
			return k
		}
	}
	return nil
}

// serve does what a request asks.
func (a *API) serve(w http.ResponseWriter, q *request) error {
	if q.part != "" {
		return a.servePart(w, q)
	}
	switch q.Method {
	case http.MethodGet, http.MethodHead:
		if q.name.name == "" {
			return a.list(w, q)
		}
		return a.get(w, q)
	case http.MethodPost:
		if q.name.name == "" {
			return a.create(w, q)
		}
	case http.MethodPut, http.MethodPatch:
		if q.name.name != "" {
			return a.change(w, q)
		}
	case http.MethodDelete:
		if q.name.name != "" {
			return a.remove(w, q)
		}
		return methodNotAllowed("deleting all %s at once is not for a lone node: delete them by name, as kubectl delete --all does", q.kind.name)
	}
	return methodNotAllowed("%s is not for %s", q.URL.Path, q.Method)
}

func (a *API) servePart(w http.ResponseWriter, q *request) error {
	if q.kind.name == pods {
		switch q.part {
		case "log":
			return a.log(w, q)
		case "exec", "attach", "portforward":
			return a.stream(w, q)
		case "status":
			if q.Method == http.MethodGet {
				return a.get(w, q)
			}
			return forbidden(q.kind, q.name.name, "the status of a pod is for the node to tell")
		}
	}
	return statusError(http.StatusNotFound, metav1.StatusReasonNotFound, "the API of a lone node has no %s of %s", q.part, q.kind.name)
}

// wantsTable tells whether a client would have a table, as kubectl get would.
func wantsTable(r *http.Request) (bool, error) {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if accept == "" {
		return false, nil
	}
	for part := range strings.SplitSeq(accept, ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		switch as := params["as"]; {
		case kind != "application/json" && kind != "*/*" && kind != "application/*":
		case as == "":
			return false, nil
		case as == "Table" && params["g"] == "meta.k8s.io" && params["v"] == "v1":
			return true, nil
		}
	}
	return false, statusError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable, "the API of a lone node speaks application/json, not %s", accept)
}

// notFound is the error that every client knows.
func (q *request) notFound() error {
	err := apierrors.NewNotFound(q.kind.resource(), q.name.name)
	err.ErrStatus.Message = fmt.Sprintf("%s %q not found", q.kind.name, q.name.name)
	return err
}
