package hook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/bosun-project/bosun/internal/handler"
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
	path, _, _ := strings.Cut(q.Handler.HTTPGet.Path, "?") // a query may hold a token
	what := fmt.Sprintf("HTTP lifecycle hook (%s)", path)
	request, err := r.request(ctx, q)
	if err != nil {
		return q.fail(what, err)
	}
	err = r.send(request)
	if request.URL.Scheme == "https" && errors.Is(err, http.ErrSchemeMismatch) {
		if err = r.sendPlain(request); err == nil {
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
	return q.fail(what, handler.WithoutQuery(err, request.URL))
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
	get, err := handler.NewGet(q.Handler.HTTPGet, q.Container, q.PodIP, "kube-lifecycle/"+r.config.Version)
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
