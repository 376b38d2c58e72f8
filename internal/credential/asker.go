package credential

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Asker is the pod that wants an image, as far as logins to registries go.
type Asker struct {
	// Secrets are its pull secrets.
	Secrets []Config
	// Identity is its service account; nil if it has none, as static pods and the pods of a node without an API server.
	Identity Identity
}

// Identity tells of a pod's service account. It is asked only for an image of a provider that works with service accounts.
type Identity interface {
	Account(ctx context.Context) (Account, error)
	// Token is a token of the service account that is bound to the pod, for an audience.
	Token(ctx context.Context, audience string) (string, error)
}

// Account is a service account.
type Account struct {
	Owner
	Annotations map[string]string
}

// Owner is the object of the API that a login belongs to. The zero value is none.
type Owner struct{ UID, Namespace, Name string }

// Found is a login for an image, and whose it is.
type Found struct {
	Login
	// Node tells that the node has it, and so all of its pods.
	Node bool
	// Secrets are the pod's pull secrets with this login, Accounts the service account for which a provider gave it.
	Secrets, Accounts []Owner
}

// offer is a login under a pattern, and who offers it.
type offer struct {
	entry
	node            bool
	secret, account Owner
}

func (f *Found) add(o offer) {
	f.Node = f.Node || o.node
	f.Secrets = addOwner(f.Secrets, o.secret)
	f.Accounts = addOwner(f.Accounts, o.account)
}

func addOwner(all []Owner, o Owner) []Owner {
	if o == (Owner{}) || slices.Contains(all, o) {
		return all
	}
	return append(all, o)
}

// tokenUse is how a provider works with service accounts.
type tokenUse struct {
	audience string
	// perToken tells that an answer is for one token only, not for the service account.
	perToken           bool
	needed             bool // only pods with a service account are of interest
	required, optional []string
}

// question is what a provider is asked.
type question struct {
	image       string
	token       string
	annotations map[string]string
	// account is on whose behalf it is asked; zero for the node's.
	account Owner
	// who tells questions on behalf of different accounts apart; empty for the node.
	who string
}

// asAccount adds what a provider is told of a service account.
func (u *tokenUse) asAccount(ctx context.Context, q question, who Identity) (question, error) {
	account, err := who.Account(ctx)
	if err != nil {
		return q, err
	}
	told := map[string]string{}
	for _, key := range u.required {
		value, ok := account.Annotations[key]
		if !ok {
			return q, fmt.Errorf("service account %s/%s lacks the annotation %s", account.Namespace, account.Name, key)
		}
		told[key] = value
	}
	for _, key := range u.optional {
		if value, ok := account.Annotations[key]; ok {
			told[key] = value
		}
	}
	token, err := who.Token(ctx, u.audience)
	if err != nil {
		return q, err
	}
	q.token, q.annotations, q.account = token, told, account.Owner
	q.who = u.mark(q)
	return q, nil
}

// mark is equal for questions that have the same answer.
func (u *tokenUse) mark(q question) string {
	sum := sha256.New()
	add := func(s string) { fmt.Fprintf(sum, "%d:%s", len(s), s) }
	add(q.account.UID)
	add(q.account.Namespace)
	add(q.account.Name)
	for _, key := range slices.Sorted(maps.Keys(q.annotations)) {
		add(key)
		add(q.annotations[key])
	}
	if u.perToken {
		add(q.token)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// once asks for the account at most one time, however many providers want to know of it.
type once struct {
	Identity
	account func() (Account, error)
}

func askedOnce(ctx context.Context, who Identity) Identity {
	if who == nil {
		return nil
	}
	return once{who, sync.OnceValues(func() (Account, error) { return who.Account(ctx) })}
}

// Account is what the first call was told.
func (o once) Account(context.Context) (Account, error) { return o.account() }
