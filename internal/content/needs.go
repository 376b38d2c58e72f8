package content

import (
	"cmp"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/pod"
)

// Needs are the objects of the API that a pod refers to, each once, sorted. ConfigMaps and Secrets are of the pod's
// namespace.
type Needs struct {
	ConfigMaps, Secrets []string
	// PullSecrets are the logins to registries. A pod starts without those that are missing.
	PullSecrets []string
	Tokens      []Token
	// Certificates are those the pod wants for itself.
	Certificates []Certificate
	// TrustBundles tells that ClusterTrustBundles are needed: they are found by signer and labels, so all are.
	TrustBundles bool
	// Claims are those of persistent volumes, in the pod's namespace. Drivers tells that what the cluster knows of CSI drivers is
	// needed.
	Claims  []string
	Drivers bool
	// ResourceClaims are those that the pod uses, in its namespace, as far as they have been made.
	ResourceClaims []string
	// Services tells that containers get variables of services: at least of the master services (behaviour 69).
	Services bool
	// RuntimeClass is the name of one; empty if the pod names none.
	RuntimeClass string
}

// Token is a token of the pod's service account, bound to the pod (behaviour 181).
type Token struct {
	// Account is the name of the service account in the pod's namespace.
	Account string
	// Audience is who the token is for; empty for the API server itself.
	Audience string
	// Seconds is how long it is to hold.
	Seconds int64
}

// defaultTokenSeconds is how long a token holds when the pod does not say.
const defaultTokenSeconds = 3600

// NeedsOf lists what a pod needs as a whole, of all its containers and volumes.
func NeedsOf(p *v1.Pod) Needs {
	g := newGathering()
	for i := range p.Spec.Volumes {
		g.volume(p, &p.Spec.Volumes[i])
	}
	eachContainer(p, g.container)
	n := g.needs()
	pulls := map[string]bool{}
	for _, ref := range p.Spec.ImagePullSecrets {
		add(pulls, ref.Name)
	}
	claims := map[string]bool{}
	for _, c := range pod.Claims(p) {
		add(claims, c.Object)
	}
	n.ResourceClaims = slices.Sorted(maps.Keys(claims))
	n.PullSecrets = slices.Sorted(maps.Keys(pulls))
	n.Services = true
	if p.Spec.RuntimeClassName != nil {
		n.RuntimeClass = *p.Spec.RuntimeClassName
	}
	return n
}

// NeedsOfVolume lists what one volume of the pod needs.
func NeedsOfVolume(p *v1.Pod, v *v1.Volume) Needs {
	g := newGathering()
	g.volume(p, v)
	return g.needs()
}

// Live tells whether the files of a volume follow something that changes while the pod runs: objects of the API, or the
// pod's own labels, annotations and resources. It must then be set up again after a change.
//
// A volume of a driver or of a claim is among them: it may have to be published again, or have grown.
func Live(v *v1.Volume) bool {
	return v.CSI != nil || Claimed(v) || v.ConfigMap != nil || v.Secret != nil || v.Projected != nil || v.DownwardAPI != nil
}

// Claimed tells whether a volume is that of a claim.
func Claimed(v *v1.Volume) bool { return v.PersistentVolumeClaim != nil || v.Ephemeral != nil }

// ClaimOf is the name of the claim of a volume; empty if it has none. A generic ephemeral volume has one that is made for it
// (behaviour 197).
func ClaimOf(p *v1.Pod, v *v1.Volume) string {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		return p.Name + "-" + v.Name
	}
	return ""
}

// AccountOf is the service account of a pod.
func AccountOf(p *v1.Pod) string { return cmp.Or(p.Spec.ServiceAccountName, "default") }

// tokenOf is the token that a projection asks for.
func tokenOf(p *v1.Pod, s *v1.ServiceAccountTokenProjection) Token {
	t := Token{Account: AccountOf(p), Audience: s.Audience, Seconds: defaultTokenSeconds}
	if s.ExpirationSeconds != nil {
		t.Seconds = *s.ExpirationSeconds
	}
	return t
}

// TokenFor is a token of the pod's service account for an audience that the pod itself does not name.
func TokenFor(p *v1.Pod, audience string) Token {
	return Token{Account: AccountOf(p), Audience: audience, Seconds: defaultTokenSeconds}
}

// eachContainer visits the containers of all kinds.
func eachContainer(p *v1.Pod, visit func(*v1.Container)) {
	for i := range p.Spec.InitContainers {
		visit(&p.Spec.InitContainers[i])
	}
	for i := range p.Spec.Containers {
		visit(&p.Spec.Containers[i])
	}
	for i := range p.Spec.EphemeralContainers {
		c := v1.Container(p.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		visit(&c)
	}
}

// gathering collects needs.
type gathering struct {
	configMaps, secrets, claims map[string]bool
	tokens                      map[Token]bool
	certificates                []Certificate
	trustBundles, drivers       bool
}

func newGathering() *gathering {
	return &gathering{configMaps: map[string]bool{}, secrets: map[string]bool{}, claims: map[string]bool{}, tokens: map[Token]bool{}}
}

func (g *gathering) needs() Needs {
	return Needs{
		ConfigMaps: slices.Sorted(maps.Keys(g.configMaps)), Secrets: slices.Sorted(maps.Keys(g.secrets)),
		Tokens:       slices.SortedFunc(maps.Keys(g.tokens), compareTokens),
		Certificates: slices.SortedFunc(slices.Values(g.certificates), compareCertificates), TrustBundles: g.trustBundles,
		Claims: slices.Sorted(maps.Keys(g.claims)), Drivers: g.drivers,
	}
}

func compareTokens(a, b Token) int {
	return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Audience, b.Audience), cmp.Compare(a.Seconds, b.Seconds))
}

// add leaves out names that name nothing: nothing can be asked for by them.
func add(to map[string]bool, name string) {
	if name != "" {
		to[name] = true
	}
}

func (g *gathering) container(c *v1.Container) {
	n := environ.NeedOf(c)
	for _, name := range n.ConfigMaps {
		add(g.configMaps, name)
	}
	for _, name := range n.Secrets {
		add(g.secrets, name)
	}
}

func (g *gathering) volume(p *v1.Pod, v *v1.Volume) {
	switch {
	case v.ConfigMap != nil:
		add(g.configMaps, v.ConfigMap.Name)
	case v.Secret != nil:
		add(g.secrets, v.Secret.SecretName)
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			g.projection(p, &v.Projected.Sources[i], Certificate{v.Name, i})
		}
	case v.CSI != nil:
		g.drivers = true
		if ref := v.CSI.NodePublishSecretRef; ref != nil {
			add(g.secrets, ref.Name)
		}
	case Claimed(v):
		g.drivers = true
		add(g.claims, ClaimOf(p, v))
	}
}

func (g *gathering) projection(p *v1.Pod, s *v1.VolumeProjection, at Certificate) {
	switch {
	case s.ConfigMap != nil:
		add(g.configMaps, s.ConfigMap.Name)
	case s.Secret != nil:
		add(g.secrets, s.Secret.Name)
	case s.ServiceAccountToken != nil:
		g.tokens[tokenOf(p, s.ServiceAccountToken)] = true
	case s.ClusterTrustBundle != nil:
		g.trustBundles = true
	case s.PodCertificate != nil:
		g.certificates = append(g.certificates, at)
	}
}
