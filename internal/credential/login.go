package credential

import (
	"encoding/base64"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Login is what a registry is told to let somebody in. Either Username and Password, or one of the tokens is set.
// Formatting one, or logging it, shows none of the secrets.
type Login struct {
	Username string
	Password string
	// IdentityToken is exchanged for access tokens (OAuth refresh token).
	IdentityToken string
	// RegistryToken is a bearer token that is shown to the registry as it is.
	RegistryToken string
}

// Anonymous tells that the login is empty.
func (l Login) Anonymous() bool { return l == Login{} }

// String names the kind of login only.
func (l Login) String() string {
	switch {
	case l.Anonymous():
		return "anonymous"
	case l.IdentityToken != "":
		return "identity token"
	case l.RegistryToken != "":
		return "registry token"
	}
	return "username and password"
}

// GoString is String, so that %#v keeps the secrets too.
func (l Login) GoString() string { return "credential.Login{" + l.String() + "}" }

// LogValue is String, for slog.
func (l Login) LogValue() slog.Value { return slog.StringValue(l.String()) }

// shortest is the length, in bytes, below which a secret cannot be picked out of a text without spoiling it.
const shortest = 4

// secrets lists the spellings under which the login may turn up in somebody's error text.
func (l Login) secrets() []string {
	var all []string
	for _, s := range []string{l.Password, l.IdentityToken, l.RegistryToken} {
		if len(s) >= shortest {
			all = append(all, s, url.QueryEscape(s), url.PathEscape(s), base64.StdEncoding.EncodeToString([]byte(s)))
		}
	}
	if l.Password != "" {
		pair := []byte(l.Username + ":" + l.Password)
		all = append(all, base64.StdEncoding.EncodeToString(pair), base64.URLEncoding.EncodeToString(pair))
	}
	return all
}

const redacted = "[redacted]"

// maxText bounds a scrubbed text, in bytes: registries have been seen to answer with whole web pages.
const maxText = 2048

var (
	userinfo   = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#\s"']*@`)
	queryValue = regexp.MustCompile(`([?&;][A-Za-z0-9_.~%-]+=)[^&\s"'<>\\]+`)
	headerAuth = regexp.MustCompile(`(?i)\b(basic|bearer)(\s+|%20)[A-Za-z0-9+/=_.~-]{8,}`)
	jsonWebTok = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)?`)
	// harmless query parameters say which registry and which repository an authorisation was asked for.
	harmless = map[string]bool{"scope": true, "service": true, "ns": true}
)

// Scrub takes secrets out of a text that comes from outside, such as an error of the runtime that quotes a registry:
// the given logins in every usual encoding, user information and query values of URLs, authorisation headers and web
// tokens. It also takes out control characters and cuts texts over 2 KiB.
func Scrub(text string, logins ...Login) string {
	var exact []string
	for _, l := range logins {
		exact = append(exact, l.secrets()...)
	}
	// The longest first: one secret may be part of another.
	slices.SortFunc(exact, func(a, b string) int { return len(b) - len(a) })
	for _, s := range exact {
		text = strings.ReplaceAll(text, s, redacted)
	}
	text = userinfo.ReplaceAllString(text, "${1}"+redacted+"@")
	text = queryValue.ReplaceAllStringFunc(text, scrubQuery)
	text = headerAuth.ReplaceAllStringFunc(text, scrubHeader)
	text = jsonWebTok.ReplaceAllString(text, redacted)
	return tidy(text)
}

func scrubQuery(pair string) string {
	name, value, _ := strings.Cut(pair[1:], "=")
	if harmless[strings.ToLower(name)] || value == redacted {
		return pair
	}
	return pair[:1] + name + "=" + redacted
}

// scrubHeader leaves plain words such as "basic authentication" alone.
func scrubHeader(header string) string {
	scheme := headerAuth.FindStringSubmatch(header)[1]
	if strings.ToLower(header[len(scheme):]) == header[len(scheme):] && !strings.ContainsAny(header, "0123456789+/=_") {
		return header
	}
	return scheme + " " + redacted
}

func tidy(text string) string {
	text = strings.ToValidUTF8(text, "?")
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r != 0x7f {
			return r
		}
		return ' '
	}, text)
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return strings.TrimSpace(text)
}
