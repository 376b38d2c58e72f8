package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/client-go/util/connrotation"
)

// A way is where the API server is, whom to believe that it is it, and how the node identifies itself there. The kubeconfig may
// change while the agent runs; then another way takes the place of this one.
type way struct {
	send   http.RoundTripper
	dialer *connrotation.Dialer
	// base is scheme, host and the beginning of every path.
	base *url.URL
	// certificate returns the client certificate that the kubeconfig names, nil for none; nil if it names none.
	certificate func() *tls.Certificate
	// left is set when another way is taken.
	left atomic.Bool
}

// newWay builds a way. It sends nothing.
func (w *wire) newWay(from *rest.Config) (*way, error) {
	config := *from
	config.UserAgent = w.userAgent
	v := &way{}
	var err error
	if w.given == nil {
		if v.certificate, err = certificateOf(&config); err != nil {
			return nil, err
		}
	}
	named := w.given != nil || v.certificate != nil
	if named { // it comes with the handshake
		config.CertFile, config.KeyFile, config.CertData, config.KeyData = "", "", nil, nil
	}
	t, err := config.TransportConfig()
	if err != nil {
		return nil, err
	}
	secure, err := transport.TLSConfigFor(t)
	if err != nil {
		return nil, err
	}
	if secure == nil {
		secure = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if named {
		secure.GetClientCertificate = w.show
	}
	if v.base, _, err = rest.DefaultServerURL(config.Host, "", schema.GroupVersion{}, true); err != nil {
		return nil, err
	}
	dial := (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	if t.DialHolder != nil { // of a credential program, which closes connections when it has new credentials
		dial = t.DialHolder.Dial
	}
	v.dialer = connrotation.NewDialer(dial)
	proxy := config.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	base := utilnet.SetTransportDefaults(&http.Transport{ // among these: pings on silent HTTP/2 connections, after 30 s
		Proxy: proxy, TLSHandshakeTimeout: 10 * time.Second, TLSClientConfig: secure, MaxIdleConnsPerHost: 25,
		DialContext: v.dial, DisableCompression: config.DisableCompression,
	})
	v.send, err = transport.HTTPWrappersForConfig(t, base)
	return v, err
}

var errLeft = errors.New("the kubeconfig leads elsewhere now")

// dial makes connections as long as the way is taken.
func (v *way) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := v.dialer.DialContext(ctx, network, address)
	if err == nil && v.left.Load() {
		return nil, errors.Join(errLeft, c.Close())
	}
	return c, err
}

// leave ends all connections, and those to come.
func (v *way) leave() {
	v.left.Store(true)
	v.dialer.CloseAll()
}

// direct sends a request this way that was written for another one.
func (v *way) direct(r *http.Request, from *url.URL) *http.Request {
	if *v.base == *from {
		return r
	}
	to, to2 := *r, *r.URL
	to2.Scheme, to2.Host, to2.RawPath = v.base.Scheme, v.base.Host, ""
	to2.Path = trimSlash(v.base.Path) + "/" + strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, trimSlash(from.Path)), "/")
	to.URL, to.Host = &to2, v.base.Host
	return &to
}

func trimSlash(path string) string { return strings.TrimSuffix(path, "/") }

// Move has the client reach the API server otherwise from now on: at another address, through another proxy, believing another
// authority, or with another token. All connections end; what is under way on them fails as unreachable, and the Follow functions ask for
// everything anew, since nothing says that what is there has the same past. If to cannot be used, all stays as it is.
func (c *Client) Move(to *rest.Config) error {
	next, err := c.wire.newWay(to)
	if err != nil {
		return fmt.Errorf("client of the API server: %w", err)
	}
	c.wire.way.Swap(next).leave()
	c.wire.link.moved()
	return nil
}
