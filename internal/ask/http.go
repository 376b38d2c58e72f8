package ask

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

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/health"
)

const (
	maxHeader    = 1 << 20
	maxRedirects = 10
)

// newTransport builds what all HTTP questions share. Certificates are not verified, because containers rarely have one
// for their pod's address; there is no proxy and no kept connection, because the peer is a container.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:            newDialer().DialContext,
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // as documented for probes
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
}

// follow follows redirects on the same host. One that leads elsewhere is an answer: the question was for this host.
func follow(to *http.Request, via []*http.Request) error {
	if to.URL.Hostname() != via[0].URL.Hostname() {
		return http.ErrUseLastResponse
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	return nil
}

// httpGet gets a URL: a status from 200 to 399 is success (behaviour 124).
func (a *Asker) httpGet(ctx context.Context, q health.Question) (health.Answer, error) {
	request, err := a.request(ctx, q)
	if err != nil {
		return health.Answer{}, err
	}
	client := http.Client{Transport: a.transport, CheckRedirect: follow, Timeout: q.Timeout}
	response, err := client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return health.Answer{}, context.Cause(ctx)
		}
		return failed(withoutQuery(err, request.URL).Error()), nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxOutput))
	switch {
	case ctx.Err() != nil:
		return health.Answer{}, context.Cause(ctx)
	case err != nil:
		return failed("reading the response: " + err.Error()), nil
	case response.StatusCode < 200 || response.StatusCode >= 400:
		return failed(fmt.Sprintf("HTTP probe failed with statuscode: %d", response.StatusCode)), nil
	case response.StatusCode >= 300:
		return health.Answer{Result: health.Success, Warning: true, Output: "Probe terminated redirects, Response body: " + string(body)}, nil
	}
	return health.Answer{Result: health.Success, Output: string(body)}, nil
}

// request builds the request of a handler.
func (a *Asker) request(ctx context.Context, q health.Question) (*http.Request, error) {
	get := q.Handler.HTTPGet
	port, err := portNumber(get.Port, q.Container)
	if err != nil {
		return nil, err
	}
	to, err := host(get.Host, q)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(get.Path)
	if err != nil || u.Opaque != "" { // not a reference to a path, such as "a:b" or one with a stray %: taken as it is
		u = &url.URL{Path: get.Path}
	}
	u.Scheme, u.Host, u.User = strings.ToLower(string(get.Scheme)), net.JoinHostPort(to, strconv.Itoa(port)), nil
	switch u.Scheme {
	case "":
		u.Scheme = "http"
	case "http", "https":
	default:
		return nil, fmt.Errorf("scheme %q is neither HTTP nor HTTPS", get.Scheme)
	}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path, u.RawPath = "/"+u.Path, ""
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	a.setHeaders(request, get.HTTPHeaders)
	return request, nil
}

// setHeaders adds the handler's headers. One that is given outranks a default, and an empty one removes it.
func (a *Asker) setHeaders(request *http.Request, headers []v1.HTTPHeader) {
	for _, h := range headers {
		if http.CanonicalHeaderKey(h.Name) == "Host" {
			request.Host = h.Value
			continue
		}
		request.Header.Add(h.Name, h.Value)
	}
	for _, d := range [][2]string{{"User-Agent", a.agent}, {"Accept", "*/*"}} {
		name, value := d[0], d[1]
		switch given, ok := request.Header[name]; {
		case !ok:
			request.Header.Set(name, value)
		case len(given) == 1 && given[0] == "" && name != "User-Agent": // net/http puts its own in place of a missing User-Agent
			request.Header.Del(name)
		}
	}
}

// withoutQuery replaces the URL that net/http puts into its errors by one without query: that may hold a token.
func withoutQuery(err error, u *url.URL) error {
	var failed *url.Error
	if !errors.As(err, &failed) {
		return err
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return fmt.Errorf("Get %q: %w", shown.String(), failed.Err)
}
