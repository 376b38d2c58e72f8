package ask

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/bosun-project/bosun/internal/handler"
	"github.com/bosun-project/bosun/internal/health"
)

const (
	maxHeader    = 1 << 20
	maxRedirects = 10
)

// newTransport builds what carries one question. Certificates are not verified, because containers rarely have one for their
// pod's address; there is no proxy and no kept connection, because the peer is a container. Connections are not opened for longer
// than ctx lasts: by itself a transport goes on, for others that may want the connection too.
func newTransport(ctx context.Context) *http.Transport {
	dialer := newDialer()
	secure := tls.Dialer{NetDialer: dialer, Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // as documented for probes
	return &http.Transport{
		DialContext: func(_ context.Context, network, to string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, to)
		},
		DialTLSContext: func(_ context.Context, network, to string) (net.Conn, error) {
			return secure.DialContext(ctx, network, to)
		},
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
	open, done := context.WithCancel(ctx)
	defer done()
	client := http.Client{Transport: newTransport(open), CheckRedirect: follow, Timeout: q.Timeout}
	response, err := client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return health.Answer{}, context.Cause(ctx)
		}
		return failed(handler.WithoutQuery(err, request.URL).Error()), nil
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
	get, err := handler.NewGet(q.Handler.HTTPGet, q.Container, q.IP, a.agent)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, get.URL.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Host = get.Host
	for _, h := range get.Headers {
		request.Header.Add(h.Name, h.Value)
	}
	return request, nil
}
