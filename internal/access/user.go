package access

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"
)

// The names of those who named nobody, and the groups that everybody is in or not.
const (
	anonymous       = "system:anonymous"
	unauthenticated = "system:unauthenticated"
	authenticated   = "system:authenticated"
)

// User is somebody, as the API server knows them.
type User struct {
	Name   string
	UID    string
	Groups []string
	Extra  map[string][]string
}

// who tells who sends a request; false if nobody is named. An error means that a proof was given and is no good: then
// the sender is not taken for anonymous, because they meant to be somebody.
func (g *Gate) who(r *http.Request) (User, bool, error) {
	user, ok, err := g.byCertificate(r)
	if !ok {
		var tokenErr error
		user, ok, tokenErr = g.byToken(r)
		err = errors.Join(err, tokenErr)
	}
	switch {
	case ok:
		return withGroup(user), true, nil
	case err != nil || !g.cfg.Anonymous:
		return User{}, false, err
	}
	return User{Name: anonymous, Groups: []string{unauthenticated}}, true, nil
}

// withGroup adds the group of all who are somebody.
func withGroup(u User) User {
	if u.Name == anonymous || slices.Contains(u.Groups, authenticated) || slices.Contains(u.Groups, unauthenticated) {
		return u
	}
	u.Groups = append(slices.Clone(u.Groups), authenticated)
	return u
}

func (g *Gate) byToken(r *http.Request) (User, bool, error) {
	if !g.cfg.Tokens {
		return User{}, false, nil
	}
	token, err := tokenOf(r)
	if err != nil || token == "" {
		return User{}, false, err
	}
	user, err := g.holder(r.Context(), token)
	return user, err == nil, err
}

// holder tells whose token it is.
func (g *Gate) holder(ctx context.Context, token string) (User, error) {
	known, began := true, time.Now()
	defer func() { g.cfg.Meter.Token(known, time.Since(began)) }()
	user, err := g.tokens.get(ctx, g.seal(token), func(ctx context.Context) (User, keep, error) {
		known = false
		status, err := g.reviewToken(ctx, token)
		if err != nil {
			return User{}, keep{}, err
		}
		if !status.Authenticated {
			return User{}, keep{lasts: min(badTokenTTL, g.cfg.TokenTTL), bad: true}, nil
		}
		u := User{Name: status.User.Username, UID: status.User.UID, Groups: status.User.Groups}
		for name, values := range status.User.Extra {
			if u.Extra == nil {
				u.Extra = map[string][]string{}
			}
			u.Extra[name] = values
		}
		return u, keep{lasts: g.cfg.TokenTTL}, nil
	})
	if err == nil && user.Name == "" {
		err = errors.New("the API server does not know the bearer token")
	}
	return user, err
}
