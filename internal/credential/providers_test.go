package credential

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	protocol "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

// scripted builds Providers with one provider for *.reg.io whose answers come from run.
func scripted(t *testing.T, run func(ctx context.Context, p *provider, q question) (answer, error)) *Providers {
	t.Helper()
	p, err := parsePattern("*.reg.io")
	if err != nil {
		t.Fatal(err)
	}
	ps := newProviders([]provider{{name: "one", apiVersion: protocolGroup + "v1", patterns: []pattern{p}, defaultCache: time.Hour}})
	ps.run = run
	return ps
}

func loginFor(t *testing.T, name, user string) []entry {
	t.Helper()
	p, err := parsePattern(name)
	if err != nil {
		t.Fatal(err)
	}
	return []entry{{p, Login{Username: user}}}
}

func TestProviderAnswersAreKept(t *testing.T) { // behaviour 162
	for _, c := range []struct {
		kind protocol.PluginCacheKeyType
		keep time.Duration
		want []string // who is asked, in the order of the images below
	}{
		{protocol.ImagePluginCacheKeyType, time.Hour, []string{"a.reg.io/x", "a.reg.io/y", "b.reg.io/x", "a.reg.io/x after"}},
		{protocol.RegistryPluginCacheKeyType, time.Hour, []string{"a.reg.io/x", "b.reg.io/x", "a.reg.io/x after"}},
		{protocol.GlobalPluginCacheKeyType, time.Hour, []string{"a.reg.io/x", "a.reg.io/x after"}},
		{protocol.GlobalPluginCacheKeyType, 0, []string{"a.reg.io/x", "a.reg.io/x", "a.reg.io/y", "b.reg.io/x", "a.reg.io/x after"}},
		{protocol.GlobalPluginCacheKeyType, 24 * time.Hour, []string{"a.reg.io/x"}},
	} {
		t.Run(fmt.Sprint(c.kind, c.keep), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked []string
				after := ""
				ps := scripted(t, func(_ context.Context, _ *provider, q question) (answer, error) {
					asked = append(asked, q.image+after)
					return answer{kind: c.kind, keep: c.keep, entries: loginFor(t, "*.reg.io", "joe")}, nil
				})
				k := NewKeyring(KeyringConfig{Providers: ps})
				look := func(image string) {
					if logins, err := k.Lookup(t.Context(), image, Asker{}); err != nil || names(logins) != "joe" {
						t.Errorf("%s: %q, %v", image, names(logins), err)
					}
				}
				look("a.reg.io/x:v1")
				look("a.reg.io/x:v2")
				look("a.reg.io/y")
				look("b.reg.io/x")
				time.Sleep(time.Hour)
				after = " after"
				look("a.reg.io/x:v1")
				if got, want := strings.Join(asked, ", "), strings.Join(c.want, ", "); got != want {
					t.Errorf("asked for %s; want %s", got, want)
				}
				if logins, err := k.Lookup(t.Context(), "elsewhere.io/x", Asker{}); err != nil || len(logins) != 0 {
					t.Errorf("an image that is not the provider's: %v, %v", logins, err)
				}
			})
		})
	}
}

func TestProviderCacheIsPurged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := scripted(t, func(_ context.Context, _ *provider, q question) (answer, error) {
			return answer{kind: protocol.ImagePluginCacheKeyType, keep: time.Minute}, nil
		})
		k := NewKeyring(KeyringConfig{Providers: ps})
		for i := range 10 {
			if _, err := k.Lookup(t.Context(), fmt.Sprintf("a.reg.io/x%d", i), Asker{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(purgeEvery)
		if _, err := k.Lookup(t.Context(), "a.reg.io/last", Asker{}); err != nil {
			t.Fatal(err)
		}
		if len(ps.cache) != 1 {
			t.Errorf("%d answers are kept, want only the last", len(ps.cache))
		}
	})
}

func TestProviderIsAskedOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		ps := scripted(t, func(ctx context.Context, _ *provider, _ question) (answer, error) {
			runs.Add(1)
			select {
			case <-time.After(10 * time.Second):
				return answer{kind: protocol.ImagePluginCacheKeyType, keep: time.Hour, entries: loginFor(t, "a.reg.io", "joe")}, nil
			case <-ctx.Done():
				return answer{}, ctx.Err()
			}
		})
		k := NewKeyring(KeyringConfig{Providers: ps})
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() { // the first to ask leaves early and must not spoil it for the others
			if _, err := k.Lookup(impatient, "a.reg.io/x", Asker{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("impatient: %v", err)
			}
		})
		synctest.Wait()
		for range 5 {
			all.Go(func() {
				if logins, err := k.Lookup(t.Context(), "a.reg.io/x", Asker{}); err != nil || names(logins) != "joe" {
					t.Errorf("%q, %v", names(logins), err)
				}
			})
		}
		all.Wait()
		if runs.Load() != 1 {
			t.Errorf("%d runs, want 1", runs.Load())
		}
	})
}

func TestProviderThatHangsIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := scripted(t, func(ctx context.Context, _ *provider, _ question) (answer, error) {
			<-ctx.Done()
			return answer{}, ctx.Err()
		})
		var observed error
		ps.Observe = func(name string, took time.Duration, err error) { observed = fmt.Errorf("%s %v %w", name, took, err) }
		began := time.Now()
		secret := config(t, `{"auths":{"a.reg.io":{"username":"joe"}}}`)
		logins, err := NewKeyring(KeyringConfig{Providers: ps}).Lookup(t.Context(), "a.reg.io/x", Asker{Secrets: []Config{secret}})
		if time.Since(began) != time.Minute || err == nil || !strings.Contains(err.Error(), "credential provider one: ") {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if names(logins) != "joe" {
			t.Errorf("the pull secret was lost: %q", names(logins))
		}
		if observed == nil || observed.Error() != "one 1m0s context deadline exceeded" {
			t.Errorf("observed %v", observed)
		}
	})
}

func TestProviderForServiceAccountsIsLeftOut(t *testing.T) {
	ps := scripted(t, func(context.Context, *provider, question) (answer, error) {
		t.Error("asked")
		return answer{}, nil
	})
	ps.all[0].tokens = &tokenUse{needed: true}
	if logins, err := NewKeyring(KeyringConfig{Providers: ps}).Lookup(t.Context(), "a.reg.io/x", Asker{}); err != nil || len(logins) != 0 {
		t.Errorf("%v, %v", logins, err)
	}
}

func TestExecute(t *testing.T) {
	response := func(rest string) string {
		return `cat <<'EOF'
{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse","cacheKeyType":"Registry"` + rest + `}
EOF
`
	}
	for _, c := range []struct {
		name, body, want, wrong string
	}{
		{name: "good", body: response(`,"cacheDuration":"5m","auth":{"a.reg.io":{"username":"joe","password":"s3cret"},"*.reg.io":{"username":"any"}}`),
			want: "Registry 5m0s *.reg.io=any a.reg.io=joe"},
		{name: "default duration", body: response(``), want: "Registry 1h0m0s"},
		{name: "duration of nothing", body: response(`,"cacheDuration":"0s"`), want: "Registry 0s"},
		{name: "sees request, arguments and environment",
			body: `read r; case "$r" in '{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"a.reg.io/x"}') ;; *) echo "request: $r" >&2; exit 3;; esac; [ "$1 $REGION" = "get north" ] || { echo bad arguments >&2; exit 4; }` + "\n" + response(``),
			want: "Registry 1h0m0s"},
		{name: "fails", body: "echo 'cannot reach https://joe:s3cret@meta.io' >&2; echo more >&2; exit 7", wrong: "exit status 7: cannot reach https://[redacted]@meta.io"},
		{name: "fails silently", body: "exit 7", wrong: "exit status 7"},
		{name: "says nothing", body: "exit 0", wrong: "the response is empty"},
		{name: "not JSON", body: "echo s3cret", wrong: "the response is not JSON (at byte 1)"},
		{name: "wrong version", body: `echo '{"apiVersion":"credentialprovider.kubelet.k8s.io/v1beta1","kind":"CredentialProviderResponse","cacheKeyType":"Image"}'`,
			wrong: `must be CredentialProviderResponse of credentialprovider.kubelet.k8s.io/v1`},
		{name: "wrong kind", body: `echo '{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"Pod"}'`, wrong: `must be CredentialProviderResponse`},
		{name: "wrong cache key", body: strings.Replace(response(``), "Registry", "Galaxy", 1), wrong: `cacheKeyType is "Galaxy"; it must be Image, Registry or Global`},
		{name: "wrong type", body: response(`,"auth":{"a":{"password":["s3cret"]}}`), wrong: "has the wrong type"},
		{name: "bad duration", body: response(`,"cacheDuration":"s3cret"`), wrong: "the response has a malformed field"},
		{name: "bad pattern", body: response(`,"auth":{"a:b":{}}`), wrong: `auth["a:b"] has a port that is not a number`},
		{name: "talks for ever", body: "head -c 2000000 /dev/zero", wrong: "larger than 1 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			program(t, dir, "p", c.body)
			p := provider{name: "p", path: filepath.Join(dir, "p"), args: []string{"get"}, env: []string{"REGION=north"}, apiVersion: protocolGroup + "v1", defaultCache: time.Hour}
			a, err := execute(t.Context(), &p, question{image: "a.reg.io/x"})
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "more") {
					t.Fatalf("error %v, want %q", err, c.wrong)
				}
				return
			}
			got := fmt.Sprint(a.kind, " ", a.keep)
			for _, e := range a.entries {
				got += " " + e.pattern.text + "=" + e.login.Username
			}
			if err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestExecuteKillsWhatTheProviderStarted(t *testing.T) {
	dir := t.TempDir()
	program(t, dir, "p", "sleep 600 & echo up > "+dir+"/up; wait")
	ctx, cancel := context.WithCancel(t.Context())
	p := provider{name: "p", path: filepath.Join(dir, "p"), apiVersion: protocolGroup + "v1"}
	ended := make(chan error, 1)
	go func() { _, err := execute(ctx, &p, question{image: "a.reg.io/x"}); ended <- err }()
	waitForFile(t, filepath.Join(dir, "up"))
	cancel()
	began := time.Now()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	// Had the grandchild lived, its hold on the output would have cost the whole delay.
	if took := time.Since(began); took >= pipeDelay {
		t.Errorf("the end took %v", took)
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse","cacheKeyType":"Image","auth":{"a.io":{"username":"u","password":"p"}}}`))
	f.Add([]byte(`{"cacheDuration":"1h"}`))
	p := &provider{apiVersion: protocolGroup + "v1"}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseAnswer(data, p)
		if err == nil && a.kind == "" {
			t.Errorf("accepted without a cache key type: %q", data)
		}
	})
}
