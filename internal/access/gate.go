package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	authnv1 "k8s.io/api/authentication/v1"
	authzv1 "k8s.io/api/authorization/v1"
)

// Reviewer asks the API server. The answers are in the Status of what it returns. Errors carry a class of package
// fault: those that may pass (away, too slow, too busy) are tried again.
type Reviewer interface {
	// ReviewToken asks who a token belongs to.
	ReviewToken(ctx context.Context, review *authnv1.TokenReview) (*authnv1.TokenReview, error)
	// ReviewAccess asks whether somebody may do something.
	ReviewAccess(ctx context.Context, review *authzv1.SubjectAccessReview) (*authzv1.SubjectAccessReview, error)
}

// Config says who is let in. Its fields follow authentication and authorization of the KubeletConfiguration.
type Config struct {
	// NodeName is the name in every question whether somebody may.
	NodeName string
	// ClientCAFile names the authorities of client certificates; empty: certificates are not looked at. It is read
	// again when it changes.
	ClientCAFile string
	// Fixed has ClientCAFile read once only (the gate ReloadKubeletClientCAFile off).
	Fixed bool
	// Tokens is authentication.webhook.enabled, TokenTTL its cacheTTL: how long it is believed that a token is good.
	Tokens   bool
	TokenTTL time.Duration
	// Anonymous lets those in who name nobody, as system:anonymous.
	Anonymous bool
	// AlwaysAllow is authorization.mode AlwaysAllow; without it the API server is asked (Webhook).
	AlwaysAllow bool
	// AllowedTTL and DeniedTTL are cacheAuthorizedTTL and cacheUnauthorizedTTL.
	AllowedTTL, DeniedTTL time.Duration
	// Reviewer is needed by Tokens, and unless AlwaysAllow.
	Reviewer Reviewer
	// Meter counts what happens; may be nil.
	Meter Meter
	Log   *slog.Logger
}

const (
	// badTokenTTL is how long a token that was not good stays so. It is short because a token may be used before the
	// API server that is asked has seen the object it is bound to.
	badTokenTTL = 10 * time.Second
	// mostTokens and mostDecisions bound what is remembered; the oldest go first. Who may come is few.
	mostTokens    = 1024
	mostDecisions = 2048
)

// Gate tells who asks and whether they may.
type Gate struct {
	cfg       Config
	authority *authority
	tokens    *memo[User]
	decisions *memo[bool]
	secret    [32]byte
}

// New builds a gate. It is an error if the clientCAFile cannot be used, if nobody could ever come in, or if a question
// would have nobody to answer it.
func New(cfg Config) (*Gate, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Meter == nil {
		cfg.Meter = noMeter{}
	}
	switch {
	case cfg.ClientCAFile == "" && !cfg.Tokens && !cfg.Anonymous:
		return nil, errors.New("authentication: nobody can come in: want x509.clientCAFile, webhook.enabled or anonymous.enabled")
	case cfg.Tokens && cfg.Reviewer == nil:
		return nil, errors.New("authentication.webhook.enabled: bearer tokens need an API server to ask: want a kubeconfig, or false")
	case !cfg.AlwaysAllow && cfg.Reviewer == nil:
		return nil, errors.New("authorization.mode: Webhook needs an API server to ask: want a kubeconfig, or AlwaysAllow")
	}
	g := &Gate{cfg: cfg, tokens: newMemo[User](mostTokens), decisions: newMemo[bool](mostDecisions), secret: random()}
	g.tokens.behind = func(change int) { cfg.Meter.Fetching(change, true) }
	if cfg.ClientCAFile != "" {
		var err error
		if g.authority, err = newAuthority(cfg.ClientCAFile, cfg.Fixed, cfg.Log); err != nil {
			return nil, fmt.Errorf("authentication.x509.clientCAFile: %w", err)
		}
	}
	return g, nil
}

// A Denial says why somebody is not let in: the HTTP status (401, 403, 500) and the text of the answer.
type Denial struct {
	Code int
	Text string
	// Cause is what the asker need not know; nil if there is nothing.
	Cause error
}

func (d *Denial) Error() string { return d.Text }

// Unwrap returns the cause.
func (d *Denial) Unwrap() error { return d.Cause }

// Wrap lets those through to next who may. A handler finds out with UserOf who it was. What proved them to be so
// (Authorization, the token among the WebSocket protocols) is taken out of the request.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, denial := g.Check(r)
		if denial == nil {
			r = r.WithContext(context.WithValue(r.Context(), userKey{}, user))
			hideToken(r)
			next.ServeHTTP(w, r)
			return
		}
		if r.Context().Err() == nil {
			level := slog.LevelDebug // anybody can knock at a port: that alone is no news
			if denial.Cause != nil && denial.Code == http.StatusInternalServerError {
				level = slog.LevelWarn
			}
			g.cfg.Log.Log(r.Context(), level, "a request is refused", "code", denial.Code, "why", denial.Text, "from", r.RemoteAddr, "err", denial.Cause)
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(denial.Code)
		_, _ = w.Write([]byte(denial.Text)) // who has left needs no answer
	})
}

// Check tells who sends a request, and the reason if they may not.
func (g *Gate) Check(r *http.Request) (User, *Denial) {
	user, ok, err := g.who(r)
	if err != nil || !ok {
		return User{}, &Denial{Code: http.StatusUnauthorized, Text: "Unauthorized", Cause: err}
	}
	return user, g.may(r.Context(), user, r.Method, r.URL.Path)
}

type userKey struct{}

// UserOf returns who sent the request whose context this is.
func UserOf(ctx context.Context) (User, bool) {
	user, ok := ctx.Value(userKey{}).(User)
	return user, ok
}
