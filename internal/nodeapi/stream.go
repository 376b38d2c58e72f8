package nodeapi

import (
	"bytes"
	"cmp"
	"net/http"
	"net/url"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// log passes on what a container has said.
func (a *API) log(w http.ResponseWriter, q *request) error {
	if q.Method != http.MethodGet {
		return methodNotAllowed("%s is not for %s", q.URL.Path, q.Method)
	}
	p, err := a.pod(q)
	if err != nil {
		return err
	}
	query := q.URL.Query()
	container, err := theContainer(p, query.Get("container"))
	if err != nil {
		return err
	}
	query.Del("container")
	query.Del("insecureSkipTLSVerifyBackend")
	a.pass(w, q, "/containerLogs/"+q.name.namespace+"/"+q.name.name+"/"+container, query)
	return nil
}

// stream passes on a connection to a container, or to ports of a pod.
func (a *API) stream(w http.ResponseWriter, q *request) error {
	if q.Method != http.MethodGet && q.Method != http.MethodPost {
		return methodNotAllowed("%s is not for %s", q.URL.Path, q.Method)
	}
	p, err := a.pod(q)
	if err != nil {
		return err
	}
	query := q.URL.Query()
	path := "/" + q.part + "/" + q.name.namespace + "/" + q.name.name
	if q.part == "portforward" {
		if p.Status.Phase != v1.PodRunning && p.Status.Phase != v1.PodPending {
			return badRequest("pod %s has ended, its phase is %s", p.Name, p.Status.Phase)
		}
		for i, value := range query["ports"] { // as an API server calls them
			if i == 0 {
				query.Del("port")
			}
			query.Add("port", value)
		}
		query.Del("ports")
		a.pass(w, q, "/portForward/"+q.name.namespace+"/"+q.name.name, query)
		return nil
	}
	container, err := theContainer(p, query.Get("container"))
	if err != nil {
		return err
	}
	kubelets := url.Values{"command": query["command"]}
	for theirs, ours := range map[string]string{"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"} {
		if v := strings.ToLower(query.Get(theirs)); v == "true" || v == "1" {
			kubelets.Set(ours, "1")
		}
	}
	a.pass(w, q, path+"/"+container, kubelets)
	return nil
}

// pod is the one that a request names.
func (a *API) pod(q *request) (*v1.Pod, error) {
	if p, ok := a.world.get(q.Context(), q.kind, q.name).(*v1.Pod); ok {
		return p, nil
	}
	return nil, q.notFound()
}

// theContainer is the one that is meant, as an API server understands it.
func theContainer(p *v1.Pod, said string) (string, error) {
	var all []string
	for i := range p.Spec.InitContainers {
		all = append(all, p.Spec.InitContainers[i].Name)
	}
	first := len(all)
	for i := range p.Spec.Containers {
		all = append(all, p.Spec.Containers[i].Name)
	}
	last := len(all)
	for i := range p.Spec.EphemeralContainers {
		all = append(all, p.Spec.EphemeralContainers[i].Name)
	}
	switch {
	case said == "" && last-first == 1:
		return all[first], nil
	case said == "":
		return "", badRequest("a container name must be specified for pod %s, choose one of: %v", p.Name, all)
	}
	for _, c := range all {
		if c == said {
			return c, nil
		}
	}
	return "", badRequest("container %s is not valid for pod %s: choose one of: %v", said, p.Name, all)
}

// pass has the kubelet's face answer. What it refuses becomes a Status.
func (a *API) pass(w http.ResponseWriter, q *request, path string, query url.Values) {
	r := q.WithContext(q.Context())
	r.URL = &url.URL{Path: path, RawQuery: query.Encode()}
	out := &translated{ResponseWriter: w}
	a.cfg.Streams.ServeHTTP(out, r)
	if out.code != 0 {
		text := strings.TrimSpace(out.said.String())
		a.status(w, metav1.Status{Status: metav1.StatusFailure, Code: int32(out.code), Reason: reasonOf(out.code), Message: cmp.Or(text, http.StatusText(out.code))})
	}
}

func reasonOf(code int) metav1.StatusReason {
	switch code {
	case http.StatusBadRequest:
		return metav1.StatusReasonBadRequest
	case http.StatusNotFound:
		return metav1.StatusReasonNotFound
	case http.StatusTooManyRequests:
		return metav1.StatusReasonTooManyRequests
	case http.StatusInternalServerError:
		return metav1.StatusReasonInternalError
	}
	return metav1.StatusReasonUnknown
}

// mostSaid bounds a refusal, in bytes.
const mostSaid = 64 << 10

// translated keeps a refusal, and lets everything else through.
type translated struct {
	http.ResponseWriter
	code int
	said bytes.Buffer
}

// Unwrap lets a connection be taken over, and what is written be sent at once.
func (t *translated) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// WriteHeader notes a refusal.
func (t *translated) WriteHeader(code int) {
	if code >= http.StatusBadRequest {
		t.code = code
		t.Header().Del("X-Content-Type-Options")
		return
	}
	t.ResponseWriter.WriteHeader(code)
}

func (t *translated) Write(p []byte) (int, error) {
	if t.code == 0 {
		return t.ResponseWriter.Write(p)
	}
	if room := mostSaid - t.said.Len(); room > 0 {
		t.said.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
