package access

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"
)

// protocols is the header in which a browser, which cannot set Authorization, may hide a token among the protocols it
// would speak; tokenProtocol is how such an entry begins.
const (
	protocols     = "Sec-WebSocket-Protocol"
	tokenProtocol = "base64url.bearer.authorization.k8s.io."
)

// tokenOf finds the bearer token of a request; empty if there is none.
func tokenOf(r *http.Request) (string, error) {
	words := strings.SplitN(strings.TrimSpace(r.Header.Get("Authorization")), " ", 3)
	if len(words) >= 2 && strings.EqualFold(words[0], "bearer") && words[1] != "" {
		return words[1], nil
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return "", nil
	}
	hidden, others := splitProtocols(r.Header.Values(protocols))
	switch {
	case len(hidden) == 0:
		return "", nil
	case len(hidden) > 1:
		return "", errors.New("more than one bearer token among the WebSocket protocols")
	case len(others) == 0:
		return "", errors.New("no WebSocket protocol beside the bearer token")
	}
	token, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(hidden[0], tokenProtocol))
	if err != nil || !utf8.Valid(token) {
		return "", errors.New("the bearer token among the WebSocket protocols is not base64url")
	}
	return string(token), nil
}

// splitProtocols takes the entries that hold tokens apart from the others.
func splitProtocols(headers []string) (hidden, others []string) {
	for _, header := range headers {
		for p := range strings.SplitSeq(header, ",") {
			switch p = strings.TrimSpace(p); {
			case strings.HasPrefix(p, tokenProtocol):
				hidden = append(hidden, p)
			case p != "":
				others = append(others, p)
			}
		}
	}
	return hidden, others
}

// hideToken takes the proofs out of a request: what is behind the gate, the container runtime's streaming server among
// it, has no use for them.
func hideToken(r *http.Request) {
	r.Header.Del("Authorization")
	if hidden, others := splitProtocols(r.Header.Values(protocols)); len(hidden) > 0 {
		r.Header.Set(protocols, strings.Join(others, ","))
	}
}

// key stands for a question.
type key [sha256.Size]byte

// seal turns a token into a key that gives nothing away: tokens are not kept, and how long looking for one takes tells
// nothing about others.
func (g *Gate) seal(token string) key {
	h := hmac.New(sha256.New, g.secret[:])
	h.Write([]byte(token))
	return key(h.Sum(nil))
}

func random() (b [32]byte) {
	_, _ = rand.Read(b[:]) // it cannot fail
	return b
}
