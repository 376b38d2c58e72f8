package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/bosun-project/bosun/internal/latest"
)

const (
	// patience is how long a call may take, waiting for its turn included, where the caller or Config does not say.
	patience = 30 * time.Second
	// listPatience is the same for lists, which may be long; the API server itself gives up after a minute.
	listPatience = 60 * time.Second
)

// Limit is how many requests may be sent: QPS a second, and Burst at once. A negative QPS is no limit, zero the default of client-go (5).
type Limit struct {
	QPS   float32
	Burst int
}

// Config says how to reach the API server and as whom.
type Config struct {
	// REST is where the API server is and what identifies this node to it; see LoadKubeconfig. It is not changed.
	REST *rest.Config
	// Node is the node's name.
	Node string
	// UserAgent is sent with every request; see the function UserAgent.
	UserAgent string
	// ContentType is how requests are encoded: the configuration's contentType, protobuf by default. Answers come as protobuf, or JSON
	// from servers that cannot.
	ContentType string
	// Requests limits everything but heartbeats and events (kubeAPIQPS, kubeAPIBurst), Events the events (eventRecordQPS, eventBurst).
	// Watches and heartbeats are not limited.
	Requests, Events Limit
	// Patience is how long one call may take: 30 s by default. HeartbeatPatience is the same for node and lease: 10 s by default; upstream
	// takes the smaller one of nodeStatusUpdateFrequency and lease duration.
	Patience, HeartbeatPatience time.Duration
	// GetClientCertificate returns the client certificate for the next connection, nil for none. Without it, REST says it; a certificate
	// in files is read again when the files change. Call CloseConnections when the certificate changed.
	GetClientCertificate func() *tls.Certificate
	// Observe is told of each request when the head of its answer is there. It must not block.
	Observe func(Request)
	// Received is told how many bytes the answer to a request has, watches left out. It must not block.
	Received func(Request, int64)
	// Log hears the warnings that the API server sends.
	Log *slog.Logger
}

// Client talks to the API server. It is safe for concurrent use.
type Client struct {
	node  string
	log   *slog.Logger
	wire  *wire
	codec runtime.ParameterCodec
	// pausing is how many followers make pauses between attempts.
	pausing atomic.Int64

	main, heartbeat, events lane
}

// A lane is a way to the API server with a limit and a patience of its own.
type lane struct {
	groups   map[schema.GroupVersion]*rest.RESTClient
	patience time.Duration
}

// New builds a client. It sends nothing.
func New(c Config) (*Client, error) {
	if c.REST == nil {
		return nil, errors.New("client of the API server: no address")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	wire, err := newWire(&c)
	if err != nil {
		return nil, fmt.Errorf("client of the API server: %w", err)
	}
	scheme := newScheme()
	client := &Client{node: c.Node, log: c.Log, wire: wire, codec: runtime.NewParameterCodec(scheme)}
	build := func(l Limit, patience time.Duration, versions ...schema.GroupVersion) lane {
		built := lane{groups: map[schema.GroupVersion]*rest.RESTClient{}, patience: patience}
		limiter := l.limiter()
		for _, version := range versions {
			var group *rest.RESTClient
			if group, err = rest.RESTClientForConfigAndClient(c.rest(version, limiter, scheme), &http.Client{Transport: wire}); err != nil {
				break
			}
			built.groups[version] = group
		}
		return built
	}
	var all []schema.GroupVersion
	for version := range known {
		all = append(all, version)
	}
	client.main = build(c.Requests, cmp.Or(c.Patience, patience), all...)
	client.heartbeat = build(Limit{QPS: -1}, cmp.Or(c.HeartbeatPatience, 10*time.Second), corev1.SchemeGroupVersion, coordinationv1.SchemeGroupVersion)
	client.events = build(c.Events, cmp.Or(c.Patience, patience), corev1.SchemeGroupVersion)
	if err != nil {
		return nil, fmt.Errorf("client of the API server: %w", err)
	}
	return client, nil
}

func (l Limit) limiter() flowcontrol.RateLimiter {
	if l.QPS < 0 {
		return nil
	}
	if l.QPS == 0 {
		l.QPS = rest.DefaultQPS
	}
	if l.Burst <= 0 {
		l.Burst = rest.DefaultBurst
	}
	return patient{flowcontrol.NewTokenBucketRateLimiter(l.QPS, l.Burst)}
}

// rest returns how one API group is spoken to.
func (c *Config) rest(version schema.GroupVersion, limiter flowcontrol.RateLimiter, scheme *runtime.Scheme) *rest.Config {
	r := &rest.Config{Host: c.REST.Host, APIPath: "/apis", TLSClientConfig: rest.TLSClientConfig{Insecure: c.REST.Insecure, CAFile: c.REST.CAFile, CAData: c.REST.CAData}}
	if version.Group == "" {
		r.APIPath = "/api"
	}
	r.GroupVersion = &version
	r.ContentType = cmp.Or(c.ContentType, runtime.ContentTypeProtobuf)
	r.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	r.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	r.QPS, r.RateLimiter = -1, limiter
	r.WarningHandlerWithContext = warnings{c.Log}
	return r
}

// warnings logs what the API server warns of: old versions of objects, questionable fields. Nobody at a node can mend it.
type warnings struct{ log *slog.Logger }

// HandleWarningHeaderWithContext logs a warning.
func (w warnings) HandleWarningHeaderWithContext(_ context.Context, code int, _ string, text string) {
	if code == 299 && text != "" {
		w.log.Debug("The API server warns", "warning", text)
	}
}

// CloseConnections ends all connections; what is under way on them fails as unreachable, and the Follow functions go on over new ones.
// Call it when the client certificate changed, and when heartbeats fail, because a connection may be dead without a sign.
func (c *Client) CloseConnections() { c.wire.closeConnections() }

// Link tells whether the API server answers.
func (c *Client) Link() *latest.Cell[Link] { return &c.wire.link.cell }

// Back returns a channel that is closed when the API server next answers after having been away for a second or longer. Who waits to try
// again takes it before the attempt, and tries again at once when it is closed.
func (c *Client) Back() <-chan struct{} { return c.wire.link.whenBack() }

// An object is anything that the API server keeps.
type object interface {
	runtime.Object
	metav1.Object
}

// The encoder writes into what it encodes, for a moment; so the objects of callers, which may be shared, are copied into requests.

// do sends a request and decodes the answer into what it returns. what names the deed and the object: "get pod default/web".
func do[T runtime.Object](ctx context.Context, c *Client, patience time.Duration, r *rest.Request, into T, what ...string) (T, error) {
	ctx, cancel := context.WithTimeout(withTurn(quiet(ctx)), patience)
	defer cancel()
	result := r.Do(ctx)
	err := result.Error()
	if err == nil {
		err = result.Into(into)
	} else {
		err = c.wire.explain(unansweredUnlessStatus(err))
	}
	if err != nil {
		var none T
		return none, fmt.Errorf("%s: %w", strings.Join(what, " "), err)
	}
	return into, nil
}

// quiet keeps client-go's own log lines out: what they tell comes back as errors.
func quiet(ctx context.Context) context.Context { return klog.NewContext(ctx, klog.Logger{}) }
