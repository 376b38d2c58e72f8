package credential

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	protocol "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

// identity is the service account of a pod.
type identity struct {
	account Account
	token   string
	err     error
	asked   *int
}

func (i identity) Account(context.Context) (Account, error) {
	if i.asked != nil {
		*i.asked++
	}
	return i.account, i.err
}

func (i identity) Token(_ context.Context, audience string) (string, error) {
	return i.token + " for " + audience, i.err
}

func accountOf(name, token string, annotations ...string) identity {
	a := Account{Owner: Owner{UID: "uid-" + name, Namespace: "shop", Name: name}, Annotations: map[string]string{"other": "x"}}
	for _, key := range annotations {
		a.Annotations[key] = "value of " + key
	}
	return identity{account: a, token: token}
}

// What a provider is told of a pod's service account, and when it is not asked at all (behaviour 163).
func TestProviderIsAskedForAServiceAccount(t *testing.T) {
	use := tokenUse{audience: "reg", required: []string{"id"}, optional: []string{"kind", "colour"}}
	for _, c := range []struct {
		name     string
		needed   bool
		who      Identity
		question string
		found    string
		wrong    string
	}{
		{"all of it", true, accountOf("web", "t1", "id", "kind"), "t1 for reg map[id:value of id kind:value of kind]", "joe of web", ""},
		{"a required annotation lacks", true, accountOf("web", "t1", "kind"), "", "", "credential provider one: service account shop/web lacks the annotation id"},
		{"the account cannot be had", true, identity{err: errors.New("no answer")}, "", "", "credential provider one: no answer"},
		{"no account", true, nil, "", "", ""},
		{"no account, and none needed", false, nil, " map[]", "joe of the node", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := ""
			ps := scripted(t, func(_ context.Context, _ *provider, q question) (answer, error) {
				asked = fmt.Sprint(q.token, " ", q.annotations)
				return answer{kind: protocol.ImagePluginCacheKeyType, entries: loginFor(t, "a.reg.io", "joe")}, nil
			})
			u := use
			u.needed = c.needed
			ps.all[0].tokens = &u
			found, err := NewKeyring(KeyringConfig{Providers: ps}).Lookup(t.Context(), "a.reg.io/x", Asker{Identity: c.who})
			if asked != c.question || c.wrong != "" && (err == nil || err.Error() != c.wrong) || c.wrong == "" && err != nil {
				t.Errorf("asked %q, error %v", asked, err)
			}
			if got := whose(found); got != c.found {
				t.Errorf("found %q, want %q", got, c.found)
			}
		})
	}
}

func whose(found []Found) string {
	var all []string
	for _, f := range found {
		var of []string
		if f.Node {
			of = append(of, "the node")
		}
		for _, o := range slices.Concat(f.Secrets, f.Accounts) {
			of = append(of, o.Name)
		}
		all = append(all, f.Username+" of "+strings.Join(of, " and "))
	}
	return strings.Join(all, ", ")
}

// Answers are kept for a service account or for a token, as the provider's configuration says, and never for another account.
func TestAnswersForServiceAccountsAreKept(t *testing.T) {
	moved := accountOf("web", "t1", "id")
	moved.account.Annotations["id"] = "another"
	reborn := accountOf("web", "t1", "id")
	reborn.account.UID = "uid-new"
	for _, c := range []struct {
		perToken bool
		want     string
	}{
		{false, "web, db, another annotation, another account of that name, nobody"},
		{true, "web, web with another token, db, another annotation, another account of that name, nobody"},
	} {
		asked := ""
		ps := scripted(t, func(context.Context, *provider, question) (answer, error) {
			asked = "again"
			return answer{kind: protocol.GlobalPluginCacheKeyType, keep: time.Hour, entries: loginFor(t, "*.reg.io", "joe")}, nil
		})
		ps.all[0].tokens = &tokenUse{perToken: c.perToken, required: []string{"id"}}
		k := NewKeyring(KeyringConfig{Providers: ps})
		var got []string
		for _, q := range []struct {
			name string
			who  Identity
		}{
			{"web", accountOf("web", "t1", "id")}, {"web again", accountOf("web", "t1", "id")}, {"web with another token", accountOf("web", "t2", "id")},
			{"db", accountOf("db", "t1", "id")}, {"another annotation", moved}, {"another account of that name", reborn}, {"nobody", nil}, {"nobody again", nil},
		} {
			asked = ""
			if found, err := k.Lookup(t.Context(), "a.reg.io/x", Asker{Identity: q.who}); err != nil || len(found) != 1 {
				t.Errorf("%s: %v, %v", q.name, found, err)
			}
			if asked != "" {
				got = append(got, q.name)
			}
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("per token %v: asked for %q, want %q", c.perToken, got, c.want)
		}
		for key := range ps.cache {
			if strings.Contains(fmt.Sprint(key), "t1") {
				t.Errorf("a token is in the key %v", key)
			}
		}
	}
}

func TestAccountIsReadOnce(t *testing.T) {
	ps := scripted(t, func(context.Context, *provider, question) (answer, error) {
		return answer{kind: protocol.ImagePluginCacheKeyType}, nil
	})
	ps.all[0].tokens = &tokenUse{}
	ps.all = append(ps.all, ps.all[0])
	ps.all[1].name = "two"
	asked, who := 0, accountOf("web", "t")
	who.asked = &asked
	if _, err := NewKeyring(KeyringConfig{Providers: ps}).Lookup(t.Context(), "a.reg.io/x", Asker{Identity: who}); err != nil || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
}

// Whose a login is: the same login may be a pod's and the node's.
func TestOwners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, path, `{"auths":{"reg.io":{"username":"shared"},"*.io":{"username":"node"}}}`)
	secret := func(name, text string) Config {
		c, err := FromSecret(&v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: "uid"}, Type: v1.SecretTypeDockerConfigJson,
			Data: map[string][]byte{v1.DockerConfigJsonKey: []byte(text)}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	by := Asker{Secrets: []Config{
		secret("a", `{"auths":{"reg.io":{"username":"shared"},"elsewhere.io":{"username":"x"}}}`),
		secret("b", `{"auths":{"reg.io":{"username":"shared"},"reg.io/team":{"username":"team"}}}`),
	}}
	ps := scripted(t, func(context.Context, *provider, question) (answer, error) {
		t.Error("asked")
		return answer{}, nil
	})
	k := NewKeyring(KeyringConfig{Paths: []string{path}, Providers: ps})
	found, err := k.Lookup(t.Context(), "reg.io/team/x", by)
	if got, want := whose(found), "team of b, shared of the node and a and b, node of the node"; err != nil || got != want {
		t.Errorf("found %q (%v), want %q", got, err, want)
	}
	if got := found[1].Secrets[0]; got != (Owner{"uid", "shop", "a"}) {
		t.Errorf("owner %v", got)
	}
	for _, shown := range []string{fmt.Sprint(found), fmt.Sprintf("%#v", found[0]), fmt.Sprintf("%+v", found[0])} {
		if strings.Contains(shown, "shared") || strings.Contains(shown, "team") {
			t.Errorf("shown: %s", shown)
		}
	}
	// The pod's own claims, without asking anybody.
	ps.all[0].tokens = &tokenUse{}
	by.Identity = accountOf("web", "t")
	found, account, err := k.Own(t.Context(), "a.reg.io/x", by)
	if err != nil || len(found) != 0 || account.Name != "web" {
		t.Errorf("found %q, account %v, %v", whose(found), account, err)
	}
	found, account, err = k.Own(t.Context(), "reg.io/team/x", by)
	if err != nil || whose(found) != "team of b, shared of a and b" || account != (Owner{}) {
		t.Errorf("found %q, account %v, %v", whose(found), account, err)
	}
	if all, needy := ps.ForAccounts(); len(all) != 1 || len(needy) != 0 {
		t.Errorf("for accounts %v, needy %v", all, needy)
	}
}

func TestExecuteTellsOfTheServiceAccount(t *testing.T) {
	dir := t.TempDir()
	program(t, dir, "p", `read r
case "$r" in *'"serviceAccountToken":"tok-en-1"'*'"serviceAccountAnnotations":{"id":"7"}'*) echo "got tok-en-1" >&2; exit 3;; esac
echo "request: $r" >&2; exit 4`)
	p := provider{name: "p", path: filepath.Join(dir, "p"), apiVersion: protocolGroup + "v1"}
	_, err := execute(t.Context(), &p, question{image: "a.reg.io/x", token: "tok-en-1", annotations: map[string]string{"id": "7"}})
	if err == nil || err.Error() != "exit status 3: got [redacted]" {
		t.Errorf("error %v", err)
	}
}
