package cluster_test

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/bosun-project/bosun/internal/cluster"
)

// apiServer is as much of an API server as a client sees: lists, watches that begin with a list or with a resource version, bookmarks, a
// history that can be forgotten, answers in protobuf or JSON, and faults.
type apiServer struct {
	t      *testing.T
	net    *pipes
	server *http.Server
	ca     []byte
	codecs serializer.CodecFactory

	// old makes it not know watches that begin with a list.
	old bool
	// page is how many objects a list has at most, 0 for all.
	page int

	mu       sync.Mutex
	version  int
	objects  map[string]map[string]object // by resource, then by namespace/name
	history  []change
	oldest   int // the oldest version that a watch may begin at
	newer    chan struct{}
	cut      chan struct{} // closed to end all watches
	requests []string
	peers    []string
	fault    func(http.ResponseWriter, *http.Request) bool
}

type object interface {
	runtime.Object
	metav1.Object
}

type change struct {
	version  int
	resource string
	kind     string
	object   object
}

var listOf = map[string]runtime.Object{
	"pods": &corev1.PodList{}, "nodes": &corev1.NodeList{}, "services": &corev1.ServiceList{}, "configmaps": &corev1.ConfigMapList{}, "secrets": &corev1.SecretList{},
	"runtimeclasses": &nodev1.RuntimeClassList{}, "certificatesigningrequests": &certificatesv1.CertificateSigningRequestList{},
	"clustertrustbundles": &certificatesv1.ClusterTrustBundleList{},
}

// newAPIServer starts an API server that ends with the test.
func newAPIServer(t *testing.T) *apiServer {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, coordinationv1.AddToScheme, nodev1.AddToScheme, certificatesv1.AddToScheme, authenticationv1.AddToScheme, authorizationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	key, cert := certificate(t, "api", time.Now().AddDate(1, 0, 0))
	s := &apiServer{t: t, codecs: serializer.NewCodecFactory(scheme), objects: map[string]map[string]object{}, version: 100, oldest: 100,
		newer: make(chan struct{}), cut: make(chan struct{}), ca: cert, net: newPipes()}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s.server = &http.Server{Handler: http.HandlerFunc(s.serve), ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{ClientAuth: tls.RequestClientCert, Certificates: []tls.Certificate{pair}}}
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.server.ServeTLS(s.net, "", "") }) // it ends with an error by design
	t.Cleanup(func() {
		s.endWatches()
		s.server.Close()
		serving.Wait()
	})
	return s
}

// config returns how to reach it.
func (s *apiServer) config() cluster.Config {
	return cluster.Config{REST: &rest.Config{Host: "https://api:6443", Dial: s.net.dial, TLSClientConfig: rest.TLSClientConfig{CAData: s.ca}}, Node: "n1",
		UserAgent: cluster.UserAgent("v1.37.1", "test"), Requests: cluster.Limit{QPS: 1000, Burst: 1000}, Events: cluster.Limit{QPS: -1}}
}

func (s *apiServer) client() *cluster.Client { return newClient(s.t, s.config()) }

func newClient(t *testing.T, config cluster.Config) *cluster.Client {
	t.Helper()
	c, err := cluster.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseConnections)
	return c
}

// put creates or changes an object.
func (s *apiServer) put(resource string, o object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := "ADDED"
	if s.objects[resource] == nil {
		s.objects[resource] = map[string]object{}
	}
	key := o.GetNamespace() + "/" + o.GetName()
	if s.objects[resource][key] != nil {
		kind = "MODIFIED"
	}
	s.objects[resource][key] = s.record(kind, resource, o)
}

// remove deletes an object.
func (s *apiServer) remove(resource, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.record("DELETED", resource, s.objects[resource][key])
	delete(s.objects[resource], key)
}

func (s *apiServer) record(kind, resource string, o object) object {
	s.version++
	o = o.DeepCopyObject().(object)
	o.SetResourceVersion(strconv.Itoa(s.version))
	s.history = append(s.history, change{version: s.version, resource: resource, kind: kind, object: o})
	close(s.newer)
	s.newer = make(chan struct{})
	return o
}

// forget makes it know no version older than the newest.
func (s *apiServer) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	s.oldest, s.history = s.version, nil
}

// rewind makes it count versions from a lower number, as one that was restored from a backup.
func (s *apiServer) rewind() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version, s.oldest, s.history = 50, 0, nil
}

// endWatches closes all watches.
func (s *apiServer) endWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.cut)
	s.cut = make(chan struct{})
}

// fail makes it answer with f instead, while f returns true.
func (s *apiServer) fail(f func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// asked returns the requests so far, such as "WATCH pods", and forgets them.
func (s *apiServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.requests = nil }()
	return s.requests
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	resource, name := parsePath(r.URL.Path)
	q := r.URL.Query()
	verb := r.Method
	switch {
	case q.Get("watch") != "" && q.Get("sendInitialEvents") == "true":
		verb = "WATCHLIST"
	case q.Get("watch") != "":
		verb = "WATCH"
	case verb == "GET" && name == "":
		verb = "LIST"
	}
	s.mu.Lock()
	s.requests = append(s.requests, verb+" "+resource)
	fault := s.fault
	if len(r.TLS.PeerCertificates) > 0 {
		s.peers = append(s.peers, r.TLS.PeerCertificates[0].Subject.CommonName)
	}
	s.mu.Unlock()
	if fault != nil && fault(w, r) {
		return
	}
	switch list := listOf[resource]; {
	case list == nil:
		s.status(w, r, apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name))
	case verb == "GET":
		s.get(w, r, resource, name)
	case verb == "LIST":
		s.list(w, r, resource, list.DeepCopyObject())
	case verb == "WATCHLIST" && s.old:
		s.status(w, r, apierrors.NewInvalid(schema.GroupKind{Kind: "ListOptions"}, "", nil))
	case verb == "WATCH" || verb == "WATCHLIST":
		s.watch(w, r, resource, verb == "WATCHLIST")
	default:
		s.status(w, r, apierrors.NewMethodNotSupported(schema.GroupResource{Resource: resource}, r.Method))
	}
}

func parsePath(path string) (resource, name string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if parts[0] == "api" {
		parts = parts[2:]
	} else {
		parts = parts[3:]
	}
	namespace := ""
	if parts[0] == "namespaces" && len(parts) > 2 {
		namespace, parts = parts[1], parts[2:]
	}
	if len(parts) > 1 {
		name = namespace + "/" + parts[1]
	}
	return parts[0], name
}

func (s *apiServer) accepts(r *http.Request) runtime.SerializerInfo {
	for _, want := range strings.Split(r.Header.Get("Accept"), ",") {
		want, _, _ = strings.Cut(strings.TrimSpace(want), ";")
		if info, ok := runtime.SerializerInfoForMediaType(s.codecs.SupportedMediaTypes(), want); ok {
			return info
		}
	}
	info, _ := runtime.SerializerInfoForMediaType(s.codecs.SupportedMediaTypes(), runtime.ContentTypeJSON)
	return info
}

func versionOf(r *http.Request) schema.GroupVersion {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if parts[0] == "api" {
		return corev1.SchemeGroupVersion
	}
	return schema.GroupVersion{Group: parts[1], Version: parts[2]}
}

func (s *apiServer) write(w http.ResponseWriter, r *http.Request, code int, o runtime.Object) {
	info := s.accepts(r)
	w.Header().Set("Content-Type", info.MediaType)
	w.WriteHeader(code)
	version := versionOf(r)
	switch o.(type) {
	case *metav1.Status:
		version = schema.GroupVersion{Version: "v1"}
	case *authenticationv1.TokenRequest:
		version = authenticationv1.SchemeGroupVersion
	}
	if err := s.codecs.EncoderForVersion(info.Serializer, version).Encode(o.DeepCopyObject(), w); err != nil {
		s.t.Error(err)
	}
}

func (s *apiServer) status(w http.ResponseWriter, r *http.Request, e *apierrors.StatusError) {
	status := e.Status()
	s.write(w, r, int(status.Code), &status)
}

func (s *apiServer) get(w http.ResponseWriter, r *http.Request, resource, name string) {
	s.mu.Lock()
	o := s.objects[resource][name]
	s.mu.Unlock()
	if o == nil {
		s.status(w, r, apierrors.NewNotFound(schema.GroupResource{Resource: resource}, name))
		return
	}
	s.write(w, r, http.StatusOK, o)
}

// matching returns the objects that a request is about, by name.
func (s *apiServer) matching(r *http.Request, resource string) (found []object) {
	for _, o := range s.objects[resource] {
		if matches(r, o) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b object) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
	return found
}

func matches(r *http.Request, o object) bool {
	if parts := strings.Split(r.URL.Path, "/namespaces/"); len(parts) == 2 && strings.Split(parts[1], "/")[0] != o.GetNamespace() {
		return false
	}
	field, value, ok := strings.Cut(r.URL.Query().Get("fieldSelector"), "=")
	switch {
	case !ok:
		return true
	case field == "metadata.name":
		return o.GetName() == value
	case field == "spec.nodeName":
		return o.(*corev1.Pod).Spec.NodeName == value
	}
	panic("unknown field " + field)
}

func (s *apiServer) list(w http.ResponseWriter, r *http.Request, resource string, list runtime.Object) {
	s.mu.Lock()
	found := s.matching(r, resource)
	version, page := s.version, s.page
	s.mu.Unlock()
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	accessor, _ := meta.ListAccessor(list)
	accessor.SetResourceVersion(strconv.Itoa(version))
	found = found[from:]
	if limit, _ := strconv.Atoi(r.URL.Query().Get("limit")); page > 0 && limit > 0 && len(found) > page {
		found = found[:page]
		accessor.SetContinue(strconv.Itoa(from + page))
	}
	items := make([]runtime.Object, len(found))
	for i, o := range found {
		items[i] = o
	}
	if err := meta.SetList(list, items); err != nil {
		s.t.Error(err)
	}
	s.write(w, r, http.StatusOK, list)
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, resource string, initial bool) {
	from, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	s.mu.Lock()
	cut, now := s.cut, s.version
	found := s.matching(r, resource)
	gone := from > 0 && from < s.oldest
	s.mu.Unlock()
	if initial && from > now {
		e := apierrors.NewTimeoutError("Too large resource version", 1)
		e.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}
		s.status(w, r, e)
		return
	}
	send := s.stream(w, r)
	if gone {
		status := apierrors.NewResourceExpired("too old resource version").Status()
		send("ERROR", &status)
		return
	}
	if initial {
		for _, o := range found {
			send("ADDED", o)
		}
		mark := s.mark(resource, now)
		mark.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
		send("BOOKMARK", mark)
		from = now
	}
	for {
		s.mu.Lock()
		newer, changes := s.newer, slices.Clone(s.history)
		s.mu.Unlock()
		for _, c := range changes {
			if c.version <= from {
				continue
			}
			if from = c.version; c.resource == resource && matches(r, c.object) {
				send(c.kind, c.object)
			}
		}
		select {
		case <-cut:
			return
		case <-newer:
		case <-r.Context().Done():
			return
		}
	}
}

// mark returns a bookmark.
func (s *apiServer) mark(resource string, version int) object {
	items := map[string]object{"clustertrustbundles": &certificatesv1.ClusterTrustBundle{}, "pods": &corev1.Pod{}, "configmaps": &corev1.ConfigMap{}, "nodes": &corev1.Node{}, "services": &corev1.Service{}, "secrets": &corev1.Secret{},
		"runtimeclasses": &nodev1.RuntimeClass{}, "certificatesigningrequests": &certificatesv1.CertificateSigningRequest{}}
	o := items[resource].DeepCopyObject().(object)
	o.SetResourceVersion(strconv.Itoa(version))
	return o
}

// stream begins the answer to a watch.
func (s *apiServer) stream(w http.ResponseWriter, r *http.Request) func(kind string, o runtime.Object) {
	info := s.accepts(r)
	w.Header().Set("Content-Type", info.MediaType+";stream=watch")
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	frames := streaming.NewEncoder(info.StreamSerializer.NewFrameWriter(w), s.codecs.EncoderForVersion(info.StreamSerializer.Serializer, versionOf(r)))
	return func(kind string, o runtime.Object) {
		version := versionOf(r)
		if _, ok := o.(*metav1.Status); ok {
			version = schema.GroupVersion{Version: "v1"}
		}
		raw, err := runtime.Encode(s.codecs.EncoderForVersion(info.Serializer, version), o.DeepCopyObject())
		if err != nil {
			s.t.Error(err)
		}
		_ = frames.Encode(&metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: raw}}) // the client may be gone
		w.(http.Flusher).Flush()
	}
}

// reply makes a fault that answers with a status, for requests that want.
func (s *apiServer) reply(e *apierrors.StatusError, wants func(*http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if wants != nil && !wants(r) {
			return false
		}
		s.status(w, r, e)
		return true
	}
}

func podNamed(name, uid string) *corev1.Pod {
	p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}}
	p.Namespace, p.Name, p.UID = "default", name, types.UID(uid)
	p.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl", FieldsV1: metav1.NewFieldsV1("{}")}}
	return p
}

// decode returns the body of a request, whatever its encoding, as its fields.
func (s *apiServer) decode(r *http.Request) map[string]any {
	raw, _ := io.ReadAll(r.Body)
	if r.Header.Get("Content-Type") == runtime.ContentTypeProtobuf {
		o, err := runtime.Decode(s.codecs.UniversalDeserializer(), raw)
		if err != nil {
			s.t.Error(err)
		}
		raw, _ = json.Marshal(o)
	}
	fields := map[string]any{}
	_ = json.Unmarshal(raw, &fields) // some have no body
	return fields
}

// peer returns whose client certificate came with the newest request.
func (s *apiServer) peer() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peers[len(s.peers)-1]
}

func kubeconfigOf(t *testing.T, server string) *rest.Config {
	_, ca := certificate(t, "api", time.Now().AddDate(1, 0, 0))
	return &rest.Config{Host: server, TLSClientConfig: rest.TLSClientConfig{CAData: ca}}
}
