package objects

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	authentication "k8s.io/api/authentication/v1"
	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	node "k8s.io/api/node/v1"
	resource "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/pod"
)

// server is an API server in memory.
type server struct {
	mu      sync.Mutex
	changed chan struct{}
	// objects are by what key.String says, fails what is answered instead, once per entry; down fails all.
	objects map[string]any
	fails   map[string][]error
	down    error
	// silent objects are never answered about.
	silent map[string]bool
	// follows counts what is followed now, begun what ever was; asked counts token requests.
	follows, begun map[string]int
	// fresh is a ResourceClaim of which nobody was told yet.
	fresh      *resource.ResourceClaim
	asked      []*authentication.TokenRequest
	tokenFails []error
	seconds    int64 // granted, if not 0
	slow       time.Duration
	// requests are those for certificates, and requestFails what is answered instead, one by one.
	requests     []*certificates.PodCertificateRequest
	requestFails []error
}

func newServer() *server {
	return &server{changed: make(chan struct{}), objects: map[string]any{"services": []*v1.Service{}, "runtime classes": []*node.RuntimeClass{},
		"cluster trust bundles": []*certificates.ClusterTrustBundle{}}, fails: map[string][]error{}, silent: map[string]bool{},
		follows: map[string]int{}, begun: map[string]int{}}
}

// do changes the server, and tells the followers.
func (s *server) do(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *server) put(what string, value any) { s.do(func() { s.objects[what] = value }) }

func (s *server) remove(what string) { s.do(func() { delete(s.objects, what) }) }

func (s *server) count(of map[string]int, what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return of[what]
}

// asks is how many tokens were asked for.
func (s *server) asks() int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

// following lists what is followed now.
func (s *server) following() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for what, n := range s.follows {
		if n > 0 {
			out = append(out, fmt.Sprint(what, " ", n))
		}
	}
	slices.Sort(out)
	return out
}

// followed tells of one thing as the real client does: again after 50 ms, then ever longer, when it failed.
func followed[T any](ctx context.Context, s *server, what string, tell func(T, error)) {
	s.do(func() { s.follows[what]++; s.begun[what]++ })
	defer s.do(func() { s.follows[what]-- })
	pause, synced := 50*time.Millisecond, false
	var before any = "nothing"
	for {
		s.mu.Lock()
		value, changed, err, silent := s.objects[what], s.changed, s.down, s.silent[what]
		if err == nil && len(s.fails[what]) > 0 {
			err, s.fails[what] = s.fails[what][0], s.fails[what][1:]
		}
		s.mu.Unlock()
		var again <-chan time.Time
		switch {
		case silent:
		case err != nil:
			if !synced {
				tell(*new(T), err)
			}
			again, changed = time.After(pause), nil
			pause = min(2*pause, 8*time.Second)
		case fmt.Sprintf("%p", value) != before:
			before = fmt.Sprintf("%p", value)
			t, _ := value.(T)
			tell(t, nil)
			synced = true
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-again:
		}
	}
}

func (s *server) FollowConfigMap(ctx context.Context, ns, name string, tell func(*v1.ConfigMap, error)) {
	followed(ctx, s, "configmap "+ns+"/"+name, tell)
}

func (s *server) FollowSecret(ctx context.Context, ns, name string, tell func(*v1.Secret, error)) {
	followed(ctx, s, "secret "+ns+"/"+name, tell)
}

func (s *server) FollowServices(ctx context.Context, tell func([]*v1.Service, error)) {
	followed(ctx, s, "services", tell)
}

func (s *server) FollowRuntimeClasses(ctx context.Context, tell func([]*node.RuntimeClass, error)) {
	followed(ctx, s, "runtime classes", tell)
}

func (s *server) FollowTrustBundles(ctx context.Context, tell func([]*certificates.ClusterTrustBundle, error)) {
	followed(ctx, s, "cluster trust bundles", tell)
}

func (s *server) Account(ctx context.Context, ns, name string) (*v1.ServiceAccount, error) {
	what := "serviceaccount " + ns + "/" + name
	s.mu.Lock()
	silent := s.silent[what]
	s.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return nil, s.down
	}
	if len(s.fails[what]) > 0 {
		err := s.fails[what][0]
		s.fails[what] = s.fails[what][1:]
		return nil, err
	}
	a, ok := s.objects[what].(*v1.ServiceAccount)
	if !ok {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccounts"}, name)
	}
	return a, nil
}

func (s *server) Token(ctx context.Context, ns, account string, r *authentication.TokenRequest) (*authentication.TokenRequest, error) {
	s.mu.Lock()
	slow := s.slow
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(slow):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r)
	if s.down != nil {
		return nil, s.down
	}
	if len(s.tokenFails) > 0 {
		err := s.tokenFails[0]
		s.tokenFails = s.tokenFails[1:]
		return nil, err
	}
	r = r.DeepCopy()
	if s.seconds != 0 {
		r.Spec.ExpirationSeconds = &s.seconds
	}
	r.Status.Token = fmt.Sprintf("%s/%s#%d", ns, account, len(s.asked))
	r.Status.ExpirationTimestamp = metav1.NewTime(time.Now().Add(time.Duration(*r.Spec.ExpirationSeconds) * time.Second))
	return r, nil
}

func (s *server) RequestCertificate(_ context.Context, r *certificates.PodCertificateRequest) error {
	var err error
	s.do(func() {
		if err = s.down; err == nil && len(s.requestFails) > 0 {
			err, s.requestFails = s.requestFails[0], s.requestFails[1:]
		}
		if err == nil {
			s.requests = append(s.requests, r)
			s.objects["request "+r.Namespace+"/"+r.Name] = r
		}
	})
	return err
}

func (s *server) FollowCertificateRequest(ctx context.Context, ns, name string, tell func(*certificates.PodCertificateRequest, error)) {
	followed(ctx, s, "request "+ns+"/"+name, tell)
}

var (
	errAway      = fmt.Errorf("dial tcp 127.0.0.1:6443: connect: connection refused")
	errForbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "m", fmt.Errorf("no relationship found between node and this object"))
	errNoAccount = fmt.Errorf("create token of service account shop/robot: %w", apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccounts"}, "robot"))
	errBroken    = &apierrors.StatusError{ErrStatus: metav1.Status{Code: http.StatusInternalServerError, Message: "etcdserver: leader changed"}}
)

// bench runs a Loop on a server in a bubble of its own time.
type bench struct {
	*Loop
	t      *testing.T
	server *server
	wanted latest.Cell[map[types.UID]*pod.Desired]
	stop   func()
}

// bubble runs a test with a Loop.
func bubble(t *testing.T, cfg Config, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, server: newServer()}
		b.start(cfg)
		test(b)
		b.stop()
		if left := b.server.following(); len(left) > 0 {
			t.Errorf("Run left %v", left)
		}
	})
}

// start begins a Loop, as a new process does.
func (b *bench) start(cfg Config) {
	cfg.Wanted, cfg.Cluster, cfg.ResourceClaims = b.wanted.Get, b.server, b.server
	if cfg.Node != nil {
		cfg.Requests = b.server
	}
	b.Loop = New(cfg)
	ctx, cancel := context.WithCancel(b.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := b.Run(ctx); err != nil {
			b.t.Error(err)
		}
	}()
	b.stop = func() { cancel(); <-ended }
}

// want has these pods wanted, and no others.
func (b *bench) want(pods ...*v1.Pod) {
	all := map[types.UID]*pod.Desired{}
	for _, p := range pods {
		source := pod.FromAPI
		if p.Labels["static"] != "" {
			source = pod.FromFile
		}
		all[p.UID] = &pod.Desired{Pod: p, Source: source, Over: p.Status.Phase == v1.PodFailed}
	}
	b.wanted.Set(all)
	synctest.Wait()
}

// revision is the newest of a pod.
func (b *bench) revision(uid types.UID) uint64 {
	synctest.Wait()
	return b.Revisions().Value()[uid]
}

// grows checks whether the revision of pod u grows when something is done, and after what time.
func (b *bench) grows(what string, within time.Duration, do func()) {
	b.t.Helper()
	before, began := b.revision("u"), time.Now()
	do()
	synctest.Wait()
	for b.Revisions().Value()["u"] == before {
		_, newer := b.Revisions().Get()
		select {
		case <-newer:
		case <-time.After(10*time.Minute - time.Since(began)):
			b.t.Errorf("%s: the revision has not grown", what)
			return
		}
	}
	if took := time.Since(began); took != within {
		b.t.Errorf("%s: the revision grew after %s, want %s", what, took, within)
	}
}

// rests checks that the revision of pod u does not grow.
func (b *bench) rests(what string, do func()) {
	b.t.Helper()
	before := b.revision("u")
	do()
	time.Sleep(5 * time.Second)
	if after := b.revision("u"); after != before {
		b.t.Errorf("%s: the revision grew from %d to %d", what, before, after)
	}
}

func (b *bench) is(what string, got, want any) {
	b.t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// podOf is pod u in the namespace shop with these volumes.
func podOf(sources ...v1.VolumeSource) *v1.Pod {
	p := &v1.Pod{}
	p.UID, p.Namespace, p.Name = "u", "shop", "web"
	p.Spec.ServiceAccountName = "robot"
	for i, s := range sources {
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: "v" + strconv.Itoa(i), VolumeSource: s})
	}
	p.Spec.Containers = []v1.Container{{Name: "app"}}
	return p
}

func numbered(p *v1.Pod, uid string) *v1.Pod {
	p = p.DeepCopy()
	p.UID, p.Name = types.UID(uid), uid
	return p
}

func fromMap(name string) v1.VolumeSource {
	return v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: name}}}
}

func fromSecret(name string) v1.VolumeSource {
	return v1.VolumeSource{Secret: &v1.SecretVolumeSource{SecretName: name}}
}

func fromToken(seconds int64) v1.VolumeSource {
	return v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
		{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: &seconds}}}}}
}

func configMap(data string) *v1.ConfigMap {
	m := &v1.ConfigMap{Data: map[string]string{"k": data}}
	m.Annotations = map[string]string{v1.LastAppliedConfigAnnotation: "long"}
	m.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}
	return m
}

func secret(data string) *v1.Secret { return &v1.Secret{Data: map[string][]byte{"k": []byte(data)}} }

// memory is a Keeper.
type memory struct {
	mu   sync.Mutex
	kept map[string]runtime.Object
}

func (m *memory) Load(kind, ns, name string) (runtime.Object, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.kept[kind+" "+ns+"/"+name]
	if of, is := o.(*authentication.TokenRequest); is && (of.Namespace != ns || of.Name != name) {
		return nil, false // as the real one; the other objects here have no names
	}
	return o, ok
}

func (m *memory) Store(kind, ns, name string, o runtime.Object) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o == nil {
		delete(m.kept, kind+" "+ns+"/"+name)
		return
	}
	m.kept[kind+" "+ns+"/"+name] = o.DeepCopyObject()
}

func (m *memory) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.kept))
}
