package image

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"

	"github.com/bosun-project/bosun/internal/credential"
)

// record says how an image that this node has pulled came here.
type record struct {
	// Updated is when it was changed last.
	Updated time.Time `json:"updated"`
	// Grants say who may use the image without a pull of its own, by repository: the same content may be free in one and
	// not in another. A repository that is not among them is not where this node has pulled the image from.
	Grants map[string]grant `json:"grants,omitempty"`
	// Lost tells that it is not known any more from where it was pulled.
	Lost bool `json:"lost,omitempty"`
}

// of is what is known of the image as one of a repository, and whether this node has pulled it from there. Named tells that
// the image on the node has a name in that repository; otherwise it was asked for in another way, such as by its ID, and
// whoever has pulled it has done so for that, too.
func (r record) of(repository string, named bool) (grant, bool) {
	g, pulled := r.Grants[repository]
	return g, pulled || r.Lost || !named
}

// grant says whose logins have brought an image from a repository. The zero value is nobody's.
type grant struct {
	// Node tells that no login was needed, or one of the node: all pods may use the image. Then there is nothing else.
	Node     bool    `json:"node,omitempty"`
	Secrets  []proof `json:"secrets,omitempty"`
	Accounts []owner `json:"accounts,omitempty"`
}

// owner is an object of the API.
type owner struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// proof is a pull secret with what was in it.
type proof struct {
	owner
	// Hash is of the login; it tells nothing to whom does not know the login.
	Hash string `json:"hash"`
}

// mostSecrets bounds how many secrets are remembered of one image in one repository: namespaces come and go.
const mostSecrets = 100

// claim is what a pod has to show.
type claim struct {
	secrets []proof
	account owner
}

// admits tells whether a claim is good (behaviour 164). A secret that has pulled the image is known by its identity or by
// what is in it, so that neither a new password nor a copy in another namespace asks the registry again.
func (g grant) admits(c claim) bool {
	return g.Node || slices.ContainsFunc(c.secrets, g.knows) || c.account != owner{} && slices.Contains(g.Accounts, c.account)
}

func (g grant) knows(s proof) bool {
	return slices.ContainsFunc(g.Secrets, func(k proof) bool {
		return k.Hash == s.Hash || k.owner == s.owner && s.owner != owner{}
	})
}

// with is a grant with what a login has shown; the second value tells whether that is anything new.
func (g grant) with(add grant) (grant, bool) {
	switch {
	case g.Node:
		return g, false
	case add.Node:
		return grant{Node: true}, true
	}
	changed := false
	out := grant{Secrets: slices.Clone(g.Secrets), Accounts: slices.Clone(g.Accounts)}
	for _, s := range add.Secrets {
		if !slices.Contains(out.Secrets, s) {
			out.Secrets, changed = append(out.Secrets, s), true
		}
	}
	for _, a := range add.Accounts {
		if !slices.Contains(out.Accounts, a) {
			out.Accounts, changed = append(out.Accounts, a), true
		}
	}
	out.Secrets = out.Secrets[max(0, len(out.Secrets)-mostSecrets):]
	out.Accounts = out.Accounts[max(0, len(out.Accounts)-mostSecrets):]
	return out, changed
}

func ownerOf(o credential.Owner) owner { return owner(o) }

// hashOf is what is kept of a login. With a salt of the node's own, hashes of two nodes cannot be compared, nor looked up.
func hashOf(l credential.Login, salt []byte) string {
	sum := hmac.New(sha256.New, salt)
	for _, s := range []string{l.Username, l.Password, l.IdentityToken, l.RegistryToken} {
		fmt.Fprintf(sum, "%d:%s", len(s), s)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// grantOf is what a pull with a login shows.
func grantOf(f credential.Found, salt []byte) grant {
	if f.Node || f.Anonymous() {
		return grant{Node: true}
	}
	g := grant{Secrets: secretsOf(f, salt)}
	for _, a := range f.Accounts {
		g.Accounts = append(g.Accounts, ownerOf(a))
	}
	return g
}

func secretsOf(f credential.Found, salt []byte) []proof {
	var all []proof
	for _, s := range f.Secrets {
		all = append(all, proof{ownerOf(s), hashOf(f.Login, salt)})
	}
	return all
}

// repositoryOf is an image's name without tag and digest, in the one spelling that all others have.
func repositoryOf(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	return named.Name()
}

// Verification says which images on the node a pod may use without its logins being known to have pulled them. The empty
// one is NeverVerify without records.
type Verification string

// The policies (imagePullCredentialsVerificationPolicy).
const (
	NeverVerify                  Verification = "NeverVerify"
	NeverVerifyPreloadedImages   Verification = "NeverVerifyPreloadedImages"
	NeverVerifyAllowlistedImages Verification = "NeverVerifyAllowlistedImages"
	AlwaysVerify                 Verification = "AlwaysVerify"
)

// free tells whether anybody may use an image that this node has not pulled.
func (v Verification) free(repository string, allowed []string) bool {
	switch v {
	case NeverVerifyPreloadedImages:
		return true
	case NeverVerifyAllowlistedImages:
		return slices.ContainsFunc(allowed, func(pattern string) bool { return listed(pattern, repository) })
	case NeverVerify, AlwaysVerify:
	}
	return false
}

// listed tells whether a pattern of the allow list names a repository: it is that, or the beginning of it before a slash.
func listed(pattern, repository string) bool {
	beginning, all := strings.CutSuffix(pattern, "/*")
	if !all {
		return repositoryOf(pattern) == repository
	}
	const any = "x/x" // two levels, because a single one at docker.io would be in its library
	return strings.HasPrefix(repository, strings.TrimSuffix(repositoryOf(beginning+"/"+any), any))
}
