package hook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

const (
	// dialTimeout bounds the connection attempt: a postStart hook may have no deadline of its own.
	dialTimeout = 30 * time.Second
	// maxBody and drainTimeout bound how much of an answer's body is waited for. Nothing of it is kept.
	maxBody      = 10 << 10
	drainTimeout = time.Second
	// maxRedirects is how many redirects on the same host are followed.
	maxRedirects = 10
)

// newClient builds the client for hooks: certificates are not verified, because containers rarely have one for their
// pod's address; no proxy and no kept connection, because the peer is a container.
func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as documented for probes and hooks
			TLSHandshakeTimeout: dialTimeout,
			DisableKeepAlives:   true,
			DisableCompression:  true,
		},
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			if to.URL.Hostname() != via[0].URL.Hostname() {
				return http.ErrUseLastResponse // the hook was for this host; a redirect elsewhere is an answer
			}
			if len(via) >= maxRedirects {
				return fmt.Errorf("stopped after %d redirects", maxRedirects)
			}
			return nil
		},
	}
}

// httpGet sends the request. Any answer is success, whatever its status: hooks never looked at it, and containers
// that answer 404 to their preStop hook would otherwise begin to fail.
func (r *Runner) httpGet(ctx context.Context, q Request) error {
	get := q.Handler.HTTPGet
	what := fmt.Sprintf("HTTP lifecycle hook (%s)", withoutQuery(get.Path))
	request, err := r.request(ctx, q)
	if err != nil {
		return q.fail(what, err)
	}
	err = r.send(request)
	if request.URL.Scheme == "https" && errors.Is(err, http.ErrSchemeMismatch) {
		if err = r.sendPlain(request); err == nil {
			r.fallbacks.Add(1)
			r.config.Notes(note.Note{At: time.Now(), About: q.about(), Level: note.Warning, Reason: reason.LifecycleHTTPFallback,
				Message: "request to HTTPS lifecycle hook got HTTP response, retry with HTTP succeeded"})
		}
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return q.fail(what, withoutURL(err, request.URL))
}

// sendPlain sends an HTTPS request over HTTP. What must not go over the wire in the clear stays behind.
func (r *Runner) sendPlain(secure *http.Request) error {
	plain := secure.Clone(secure.Context())
	plain.URL.Scheme = "http"
	plain.Header.Del("Authorization")
	plain.Header.Del("Cookie")
	return r.send(plain)
}

func (r *Runner) send(request *http.Request) error {
	ctx, cancel := context.WithCancel(request.Context())
	defer cancel()
	answer, err := r.client.Do(request.WithContext(ctx))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	// The answer is read so that the server is not cut off while it writes; that it breaks off, or never ends, is no
	// failure of the hook.
	defer time.AfterFunc(drainTimeout, cancel).Stop()
	_, _ = io.CopyN(io.Discard, answer.Body, maxBody)
	return nil
}

// request builds the request of a handler.
func (r *Runner) request(ctx context.Context, q Request) (*http.Request, error) {
	get := q.Handler.HTTPGet
	port, err := portNumber(get.Port, q.Container)
	if err != nil {
		return nil, err
	}
	host := get.Host
	if host == "" {
		host = q.PodIP
	}
	if host == "" {
		return nil, errors.New("the pod has no IP address and the handler names no host")
	}
	u, err := url.Parse(get.Path)
	if err != nil { // not a URL reference, such as one with a stray %: take it as it is
		u = &url.URL{Path: get.Path}
	}
	u.Scheme, u.Host, u.User = strings.ToLower(string(get.Scheme)), net.JoinHostPort(host, strconv.Itoa(port)), nil
	if u.Opaque != "" { // "a:b" parses as scheme and opaque part
		u = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: get.Path}
		u.Scheme = strings.ToLower(string(get.Scheme))
	}
	switch u.Scheme {
	case "":
		u.Scheme = "http"
	case "http", "https":
	default:
		return nil, fmt.Errorf("scheme %q is neither HTTP nor HTTPS", get.Scheme)
	}
	if u.Path != "" && !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
		u.RawPath = ""
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	r.setHeaders(request, get.HTTPHeaders)
	return request, nil
}

// setHeaders adds the handler's headers. One that is given outranks a default, and an empty one removes it.
func (r *Runner) setHeaders(request *http.Request, headers []v1.HTTPHeader) {
	for _, h := range headers {
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			request.Host = h.Value
			continue
		}
		request.Header.Add(h.Name, h.Value)
	}
	defaults := map[string]string{"User-Agent": "kube-lifecycle/" + r.config.Version, "Accept": "*/*"}
	for name, value := range defaults {
		switch given, ok := request.Header[name]; {
		case !ok:
			request.Header.Set(name, value)
		case len(given) == 1 && given[0] == "" && name != "User-Agent":
			request.Header.Del(name) // an empty User-Agent stays: net/http would put its own in its place
		}
	}
}

// portNumber resolves a port given by number or by the name of one of the container's ports.
func portNumber(port intstr.IntOrString, c *v1.Container) (int, error) {
	number := port.IntValue() // 0 for a name
	if port.Type == intstr.String && number == 0 {
		for _, p := range c.Ports {
			if p.Name == port.StrVal {
				number = int(p.ContainerPort)
			}
		}
		if number == 0 {
			return 0, fmt.Errorf("the container has no port named %q", port.StrVal)
		}
	}
	if number < 1 || number > 65535 {
		return 0, fmt.Errorf("port %d is not between 1 and 65535", number)
	}
	return number, nil
}

// withoutURL replaces the URL that net/http puts into its errors by one without query: that may hold a token.
func withoutURL(err error, u *url.URL) error {
	var failed *url.Error
	if !errors.As(err, &failed) {
		return err
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return fmt.Errorf("Get %q: %w", shown.String(), failed.Err)
}

func withoutQuery(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}
