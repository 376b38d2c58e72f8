package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/manifest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
)

const (
	urlTimeout = 10 * time.Second
	// maxRedirects is how often an answer may point elsewhere.
	maxRedirects = 5
	// loudFailures is how many failures in a row are told as warnings.
	loudFailures = 3
	firstRetry   = time.Second
)

// URLConfig says what a URL asks.
type URLConfig struct {
	URL string
	// Header is sent with each request; it is not sent on when the answer points to another host.
	Header   http.Header
	NodeName string
	// Every is the period of asking; 20 s if zero. Until the first good answer it is asked more often.
	Every   time.Duration
	Log     *slog.Logger
	Notes   note.Sink
	Running func(types.UID) bool
	// Objects tells that manifests may hold ConfigMaps and Secrets, and their pods use them.
	Objects bool
}

// URL is the source of pods from a web server.
type URL struct {
	url    *url.URL
	origin string
	header http.Header
	every  time.Duration
	log    *slog.Logger
	shelf  *shelf
	client *http.Client

	// The rest belongs to the goroutine of Run.

	failures int
	etag     string
}

// NewURL builds the source; Run makes it work.
func NewURL(c URLConfig) (*URL, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("URL of manifests: want one that begins with http:// or https:// and names a host")
	}
	if c.Every <= 0 {
		c.Every = 20 * time.Second
	}
	// What people see, and what identities are made of, has neither password nor query, which may be secret.
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	header := http.Header{}
	for name, values := range c.Header {
		for _, v := range values {
			header.Add(name, v)
		}
	}
	log := c.Log.With("source", "http")
	s := &URL{url: u, origin: shown.String(), header: header, every: c.Every, log: log,
		shelf: newShelf(pod.FromURL, c.NodeName, c.Objects, c.Running, log, c.Notes)}
	s.client = &http.Client{
		Timeout:       urlTimeout,
		CheckRedirect: s.redirect,
		// One request in a while needs no open connection in between, and leaves no goroutine behind.
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true},
	}
	return s, nil
}

// Cell holds what the URL wants now.
func (s *URL) Cell() *latest.Cell[Snapshot] { return &s.shelf.out }

// redirect keeps the headers, which may be credentials, from strangers.
func (s *URL) redirect(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if next.URL.Host != s.url.Host || next.URL.Scheme != s.url.Scheme {
		for name := range s.header {
			next.Header.Del(name)
		}
	}
	return nil
}

// Run asks until the context ends, and returns its error.
func (s *URL) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	var ask, clashDue time.Time
	retry := firstRetry
	for {
		if now := time.Now(); !now.Before(ask) {
			s.ask(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			ask = now.Add(s.every)
			if !s.shelf.ready { // nothing is cleaned up before the first good answer, so it is asked for sooner
				ask, retry = now.Add(min(retry, s.every)), min(2*retry, s.every)
			}
		}
		clashDue = s.shelf.publish(time.Now())
		next := ask
		if !clashDue.IsZero() && clashDue.Before(next) {
			next = clashDue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(next)):
		}
	}
}

// ask asks once.
func (s *URL) ask(ctx context.Context) {
	data, changed, err := s.get(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.failures++
		s.etag = "" // what comes next must come in full
		s.shelf.quiet = s.failures > loudFailures
		s.shelf.unreadable(s.origin, err, time.Now())
		return
	}
	if s.failures > 0 {
		s.log.Info("the URL of manifests answers again", "url", s.origin, "failures", s.failures)
	}
	s.failures, s.shelf.quiet = 0, false
	if !changed {
		return
	}
	s.shelf.put(s.origin, data, true, time.Now())
	if s.shelf.of(s.origin).good {
		s.shelf.ready = true
	}
}

// get asks for the manifests; changed is false when the server says that they are as they were.
func (s *URL) get(ctx context.Context) (data []byte, changed bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
	if err != nil {
		return nil, false, withoutURL(err)
	}
	maps.Copy(request.Header, s.header)
	if host := s.header.Get("Host"); host != "" {
		request.Host = host
	}
	if s.etag != "" {
		request.Header.Set("If-None-Match", s.etag)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, false, withoutURL(err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotModified && s.etag != "" {
		return nil, false, nil
	}
	if response.StatusCode != http.StatusOK {
		return nil, false, fmt.Errorf("the server answered %s: want 200 OK", response.Status)
	}
	if data, err = io.ReadAll(io.LimitReader(response.Body, manifest.MaxBytes+1)); err != nil {
		return nil, false, fmt.Errorf("the answer broke off after %d bytes: %w", len(data), withoutURL(err))
	}
	s.etag = response.Header.Get("ETag")
	return data, true, nil
}

// withoutURL takes the URL out of an error: it may hold a password, and the message has its own.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
