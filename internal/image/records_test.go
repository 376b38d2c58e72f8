package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/credential"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/reason"
)

// book is a disk in memory.
type book struct {
	mu    sync.Mutex
	kept  map[string][]byte
	saves int
	err   error
}

func (b *book) SavePulls(_ context.Context, changes map[string][]byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	b.saves++
	if b.kept == nil {
		b.kept = map[string][]byte{}
	}
	for key, value := range changes {
		if value == nil {
			delete(b.kept, key)
		} else {
			b.kept[key] = slices.Clone(value)
		}
	}
	return nil
}

// keys are those of the records, sorted.
func (b *book) keys() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	keys := slices.Sorted(maps.Keys(b.kept))
	return strings.Join(slices.DeleteFunc(keys, func(k string) bool { return k == saltKey }), ", ")
}

// life is the records after another start of the agent.
func (b *book) life() *Records {
	return NewRecords(b, maps.Clone(b.kept), nil, slog.New(slog.DiscardHandler))
}

// private answers pulls as a registry that lets in the given users, and nobody without a login.
func private(users ...string) func(context.Context, string, *runtimeapi.AuthConfig) error {
	return func(_ context.Context, _ string, auth *runtimeapi.AuthConfig) error {
		if !slices.Contains(users, auth.GetUsername()) {
			return fault.As(fault.ErrDenied, refused("no %q", auth.GetUsername()))
		}
		return nil
	}
}

const app = "reg.io/team/app:v1"

// verifier is a node with an image that lies there and a registry that lets jane in.
func verifier(f *fake, b *book, v Verification, allowed ...string) *Puller {
	return New(Config{Service: f, Keyring: keyring{}, Records: b.life(), Verify: v, Allowed: allowed})
}

// ask tells what becomes of a pod's wish: present, pulled or the reason why not.
func ask(t *testing.T, p *Puller, by credential.Asker, policy v1.PullPolicy, image string) string {
	t.Helper()
	got, err := p.Ensure(t.Context(), Request{Image: image, Policy: policy, By: by})
	var e *Error
	switch {
	case errors.As(err, &e):
		return e.Reason
	case err != nil:
		return err.Error()
	case got.Present:
		return "present"
	}
	return "pulled"
}

var nobody = credential.Asker{}

// Which images on the node a pod may use without a pull, by policy (behaviour 164).
func TestVerification(t *testing.T) {
	for _, c := range []struct {
		policy  Verification
		allowed []string
		// preloaded, and pulled with jane's secret: what a pod without a login gets, and one with jane's.
		preloaded, others, own string
	}{
		{NeverVerify, nil, "present", "present", "present"},
		{NeverVerifyPreloadedImages, nil, "present", "ErrImagePull", "present"},
		{NeverVerifyAllowlistedImages, []string{"reg.io/team/*"}, "present", "ErrImagePull", "present"},
		{NeverVerifyAllowlistedImages, []string{"reg.io/team/app"}, "present", "ErrImagePull", "present"},
		{NeverVerifyAllowlistedImages, []string{"reg.io/team", "reg.io/tea*"}, "ErrImagePull", "ErrImagePull", "present"},
		{AlwaysVerify, nil, "ErrImagePull", "ErrImagePull", "present"},
	} {
		t.Run(fmt.Sprint(c.policy, c.allowed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, b := &fake{pull: private("jane")}, &book{}
				f.keep(&runtimeapi.Image{Id: "sha256:preloaded"}, app)
				if got := ask(t, verifier(f, b, c.policy, c.allowed...), nobody, v1.PullIfNotPresent, app); got != c.preloaded {
					t.Errorf("preloaded: %s, want %s", got, c.preloaded)
				}
				f, b = &fake{pull: private("jane")}, &book{}
				p := verifier(f, b, c.policy, c.allowed...)
				if got := ask(t, p, secret("jane"), v1.PullIfNotPresent, app); got != "pulled" {
					t.Fatalf("first: %s", got)
				}
				for range 2 { // as it is, and after another start
					if got := ask(t, p, nobody, v1.PullIfNotPresent, app); got != c.others {
						t.Errorf("without a login: %s, want %s", got, c.others)
					}
					if got := ask(t, p, secret("jane"), v1.PullIfNotPresent, app); got != c.own {
						t.Errorf("with the login: %s, want %s", got, c.own)
					}
					if got, want := ask(t, p, nobody, v1.PullNever, app), strings.Replace(c.others, "ErrImagePull", reason.ErrImageNeverPull, 1); got != want {
						t.Errorf("without a login, never: %s, want %s", got, want)
					}
					if got := ask(t, p, secret("jane"), v1.PullNever, app); got != c.own {
						t.Errorf("with the login, never: %s, want %s", got, c.own)
					}
					p = verifier(f, b, c.policy, c.allowed...)
				}
				if b.keys() != "pulled sha256:id-of-"+app {
					t.Errorf("kept %q", b.keys())
				}
			})
		})
	}
}

func TestNoRecordsWithoutTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Service: &fake{pull: private("jane")}, Keyring: keyring{}})
		if got := ask(t, p, secret("jane"), "", app) + ", " + ask(t, p, nobody, "", app); got != "pulled, present" {
			t.Error(got)
		}
	})
}

// Who may use an image that was pulled with one pod's login (behaviour 164).
func TestWhoMayUseAPulledImage(t *testing.T) {
	from := func(name, uid, user string) credential.Asker {
		by := secret(user)
		by.Secrets[0].Owner = credential.Owner{UID: uid, Namespace: "shop", Name: name}
		return by
	}
	first := from("jane", "1", "jane")
	for _, c := range []struct {
		name string
		by   credential.Asker
		want string
	}{
		{"the same secret", first, "present"},
		{"the same login in another secret", from("copy", "2", "jane"), "present"},
		{"the secret with another login", from("jane", "1", "rotated"), "present"},
		{"another secret of that name", from("jane", "3", "rotated"), "ErrImagePull"},
		{"another login", from("joe", "4", "joe"), "ErrImagePull"},
		{"no login", nobody, "ErrImagePull"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f, b := &fake{pull: private("jane")}, &book{}
			p := verifier(f, b, NeverVerifyPreloadedImages)
			if got := ask(t, p, first, "", app); got != "pulled" {
				t.Fatal(got)
			}
			if got := ask(t, p, c.by, "", app); got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		})
	}
}

// What was known by half is known by both halves: first the secret is copied, then the copy gets another password.
func TestHalvesAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := &fake{pull: private("jane")}, &book{}
		p := verifier(f, b, AlwaysVerify)
		copied := secret("jane")
		copied.Secrets[0].Owner.UID = "another"
		rotated := secret("rotated")
		rotated.Secrets[0].Owner = copied.Secrets[0].Owner
		for _, by := range []credential.Asker{secret("jane"), copied, rotated} {
			ask(t, p, by, "", app)
		}
		if got := ask(t, verifier(f, b, AlwaysVerify), rotated, "", app); got != "present" || f.pulls != 1 {
			t.Errorf("%s after %d pulls", got, f.pulls)
		}
	})
}

// An image that needs no login, or that the node's login has pulled, is everybody's, also after somebody has pulled it with a
// login of his own.
func TestImagesOfAll(t *testing.T) {
	for _, own := range [][]credential.Login{nil, {{Username: "node"}}} {
		synctest.Test(t, func(t *testing.T) {
			f, b := &fake{pull: private("jane", "node", "")}, &book{}
			p := New(Config{Service: f, Keyring: keyring{own: own}, Records: b.life(), Verify: AlwaysVerify})
			got := []string{ask(t, p, secret("jane"), "", app), ask(t, p, nobody, "", app), ask(t, p, secret("joe"), "", app), ask(t, p, secret("joe"), "", app)}
			if strings.Join(got, ", ") != "pulled, pulled, present, present" {
				t.Error(got)
			}
		})
	}
}

// The same content in two repositories: who may pull it from one may not from the other.
func TestRepositoriesAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := &fake{pull: private("jane")}, &book{}
		p := verifier(f, b, NeverVerifyPreloadedImages)
		ask(t, p, secret("jane"), "", app)
		f.keep(f.present[app], "reg.io/other/app:v1", "reg.io/team/app:v2")
		got := []string{ask(t, p, secret("jane"), v1.PullNever, "reg.io/team/app:v2"), ask(t, p, secret("jane"), v1.PullNever, "reg.io/other/app:v1")}
		if strings.Join(got, ", ") != "present, ErrImageNeverPull" {
			t.Error(got)
		}
	})
}

// An image that somebody has put on the node stays free under its own name, whatever else of the same content is pulled; but
// nobody gets at what was pulled by asking for it in another way.
func TestPreloadedImageThatIsPulledElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const free, digest = "reg.io/free:v1", "@sha256:7ddc37c52e4d3a9a1a2c9a5c2ff8b2a0e2c8e4d7c5b6a7980f1e2d3c4b5a6978"
		id := "sha256:" + strings.Repeat("d", 64)
		f, b := &fake{pull: private("jane")}, &book{}
		p := verifier(f, b, NeverVerifyPreloadedImages)
		both := &runtimeapi.Image{Id: id, RepoTags: []string{free, app}, RepoDigests: []string{"reg.io/free" + digest, "reg.io/team/app" + digest}}
		f.pull = func(ctx context.Context, name string, auth *runtimeapi.AuthConfig) error {
			// As soon as it is there, before its record is: only who asks for the other name gets it.
			f.mu.Lock()
			f.keep(both, free, app, id, "reg.io/free"+digest, "reg.io/team/app"+digest)
			f.mu.Unlock()
			for name, want := range map[string]string{free: "present", app: "ErrImageNeverPull", id: "ErrImageNeverPull", "reg.io/team/app" + digest: "ErrImageNeverPull", "reg.io/free" + digest: "present"} {
				if got := ask(t, p, nobody, v1.PullNever, name); got != want {
					t.Errorf("during the pull, %s: %s, want %s", name, got, want)
				}
			}
			return nil
		}
		f.keep(&runtimeapi.Image{Id: id, RepoTags: []string{free}}, free, id)
		if got := ask(t, p, nobody, v1.PullNever, id); got != "present" {
			t.Errorf("by its ID, before anything was pulled: %s", got)
		}
		_, _ = p.Ensure(t.Context(), Request{Image: app, By: secret("jane")}) // the fake gives it another ID
		p.records.share(t.Context(), id, "reg.io/team/app", credential.Found{Login: credential.Login{Username: "jane"}, Secrets: []credential.Owner{{UID: "1"}}})
		for range 2 {
			f.keep(both, free, app, id, "reg.io/free"+digest, "reg.io/team/app"+digest)
			for name, want := range map[string]string{free: "present", app: "ErrImageNeverPull", id: "ErrImageNeverPull", "reg.io/team/app" + digest: "ErrImageNeverPull", "reg.io/free" + digest: "present"} {
				if got := ask(t, p, nobody, v1.PullNever, name); got != want {
					t.Errorf("after the pull, %s: %s, want %s", name, got, want)
				}
			}
			p = verifier(f, b, NeverVerifyPreloadedImages)
		}
	})
}

// Two pods of one login in two secrets share a pull; both are remembered.
func TestSharedPullIsRememberedForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := &fake{}, &book{}
		p := verifier(f, b, AlwaysVerify)
		other := secret("jane")
		other.Secrets[0].Owner = credential.Owner{UID: "2", Namespace: "other", Name: "x"}
		var all sync.WaitGroup
		for _, by := range []credential.Asker{secret("jane"), other} {
			all.Go(func() { ask(t, p, by, "", app) })
		}
		all.Wait()
		if f.pulls != 1 || strings.Count(string(b.kept[pulledKey+"sha256:id-of-"+app]), "uid") != 3 { // twice the word, once in a value
			t.Errorf("%d pulls; kept %s", f.pulls, b.kept)
		}
	})
}

type account credential.Account

func (a account) Account(context.Context) (credential.Account, error) {
	return credential.Account(a), nil
}
func (a account) Token(context.Context, string) (string, error) { return "", nil }

func TestServiceAccountsAreKnownByIdentity(t *testing.T) { // behaviours 163, 164
	who := func(uid string) credential.Asker {
		return credential.Asker{Identity: account{Owner: credential.Owner{UID: uid, Namespace: "shop", Name: "web"}}}
	}
	f, b := &fake{}, &book{}
	r := b.life()
	if err := r.begin(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	r.arrived(t.Context(), app, "sha256:x", credential.Found{Login: credential.Login{Username: "given"}, Accounts: []credential.Owner{{UID: "1", Namespace: "shop", Name: "web"}}})
	f.keep(&runtimeapi.Image{Id: "sha256:x"}, app)
	p := verifier(f, b, NeverVerifyPreloadedImages)
	got := []string{ask(t, p, who("1"), v1.PullNever, app), ask(t, p, who("2"), v1.PullNever, app), ask(t, p, nobody, v1.PullNever, app)}
	if strings.Join(got, ", ") != "present, ErrImageNeverPull, ErrImageNeverPull" {
		t.Error(got)
	}
	if strings.Contains(fmt.Sprintf("%s", b.kept), "given") {
		t.Errorf("kept %s", b.kept)
	}
}

// What is on disk at each moment of a pull, and what a life after a crash makes of it (behaviour 344).
func TestPullsAreOnRecordBeforeTheyBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		var during string
		f := &fake{pull: func(context.Context, string, *runtimeapi.AuthConfig) error { during = b.keys(); return nil }}
		if got := ask(t, verifier(f, b, NeverVerifyPreloadedImages), secret("jane"), "", app); got != "pulled" || during != "pulling "+app {
			t.Errorf("%s; during the pull %q was kept", got, during)
		}
		if text := fmt.Sprintf("%s", b.kept); strings.Contains(text, "word-of-jane") {
			t.Errorf("kept %s", text)
		}
		f = &fake{pull: private("jane")}
		if got := ask(t, verifier(f, &book{}, NeverVerifyPreloadedImages), nobody, "", app); got != "ErrImagePull" {
			t.Error(got)
		}
	})
}

func TestRefusedPullLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		ask(t, verifier(&fake{pull: private("jane")}, b, NeverVerifyPreloadedImages), nobody, "", app)
		if b.keys() != "" {
			t.Errorf("kept %q", b.keys())
		}
	})
}

// A pull that was cut has perhaps brought the image: it is nobody's until that is known (behaviour 344).
func TestTornPulls(t *testing.T) {
	for _, c := range []struct {
		name  string
		there bool
		tear  func(t *testing.T, f *fake, b *book)
		left  string
	}{
		{"a crash, the image came", true, crash, "pulled sha256:late"},
		{"a crash, no image", false, crash, ""},
		{"cancelled, the image came", true, cancelled, "pulled sha256:late"},
		{"the runtime went away", true, runtimeGone, "pulled sha256:late"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, b := &fake{}, &book{}
				c.tear(t, f, b)
				if b.keys() != "pulling "+app {
					t.Fatalf("kept %q", b.keys())
				}
				f.pull = private("jane")
				f.keep(&runtimeapi.Image{Id: "sha256:preloaded"}, "reg.io/free:v1")
				if c.there {
					f.keep(&runtimeapi.Image{Id: "sha256:late"}, app, "reg.io/alias:v1")
				}
				p := verifier(f, b, NeverVerifyPreloadedImages)
				if got := ask(t, p, nobody, v1.PullNever, "reg.io/free:v1"); got != "present" { // this settles it
					t.Errorf("an image that has nothing to do with it: %s", got)
				}
				if b.keys() != c.left {
					t.Errorf("kept %q, want %q", b.keys(), c.left)
				}
				if !c.there {
					return
				}
				got := []string{ask(t, p, nobody, "", app), ask(t, p, nobody, v1.PullNever, "reg.io/alias:v1"), ask(t, p, secret("jane"), "", app)}
				if strings.Join(got, ", ") != "ErrImagePull, ErrImageNeverPull, pulled" {
					t.Error(got)
				}
			})
		})
	}
}

func crash(t *testing.T, _ *fake, b *book) {
	if err := b.life().begin(t.Context(), app); err != nil {
		t.Fatal(err)
	}
}

func cancelled(t *testing.T, f *fake, b *book) {
	f.pull = func(ctx context.Context, _ string, _ *runtimeapi.AuthConfig) error { return pause(ctx, time.Hour) }
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, _ = verifier(f, b, NeverVerifyPreloadedImages).Ensure(ctx, Request{Image: app}) // it is cut
}

func runtimeGone(t *testing.T, f *fake, b *book) {
	f.pull = answer(fault.As(fault.ErrUnavailable, errors.New("error reading from server: EOF")))
	ask(t, verifier(f, b, NeverVerifyPreloadedImages), nobody, "", app)
}

func TestTornPullThatCannotBeSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := &fake{}, &book{}
		crash(t, f, b)
		f.keep(&runtimeapi.Image{Id: "sha256:x"}, "reg.io/free:v1")
		p := verifier(f, b, NeverVerifyPreloadedImages)
		r, looks := p.records, 0
		err := r.settle(t.Context(), func(context.Context, string) (string, error) { looks++; return "", errors.New("runtime away") })
		if err == nil || looks != 1 || b.keys() != "pulling "+app {
			t.Errorf("%v after %d looks, kept %q", err, looks, b.keys())
		}
	})
}

// Without the disk there is no pull: after a crash nobody would know of it.
func TestDiskThatIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := &fake{}, &book{err: errors.New("no space left on device")}
		p := verifier(f, b, NeverVerifyPreloadedImages)
		_, err := p.Ensure(t.Context(), Request{Image: app})
		var e *Error
		if !errors.As(err, &e) || e.Reason != reason.ErrImagePull || !strings.Contains(e.Message, "cannot be recorded: no space left on device") || f.pulls != 0 {
			t.Errorf("%v, %d pulls", err, f.pulls)
		}
		b.err = nil
		f.pull = func(context.Context, string, *runtimeapi.AuthConfig) error { b.err = errors.New("full"); return nil }
		if got := ask(t, p, nobody, "", app) + ", " + ask(t, p, nobody, "", app); got != "pulled, present" {
			t.Error(got)
		}
		if pulled, pulling := p.records.Counts(); pulled != 1 || pulling != 0 || b.keys() != "pulling "+app {
			t.Errorf("%d pulled, %d pulling, kept %q", pulled, pulling, b.keys())
		}
	})
}

// What cannot be read any more counts as pulled, by nobody.
func TestDamagedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := &fake{pull: private("jane")}, &book{}
		for i, name := range []string{"reg.io/a:v1", "reg.io/b:v1", "reg.io/c:v1"} {
			f.keep(&runtimeapi.Image{Id: fmt.Sprint("sha256:", i)}, name)
		}
		kept := map[string][]byte{pulledKey + "sha256:0": []byte("no JSON"), saltKey: []byte("short"), "unknown": {}}
		r := NewRecords(b, kept, []string{pulledKey + "sha256:1", pullingKey + "reg.io/c:v1"}, slog.New(slog.DiscardHandler))
		p := New(Config{Service: f, Keyring: keyring{}, Records: r, Verify: NeverVerifyPreloadedImages})
		for _, name := range []string{"reg.io/a:v1", "reg.io/b:v1", "reg.io/c:v1"} {
			if got := ask(t, p, nobody, "", name); got != "ErrImagePull" {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
}

func TestImagesThatAreGoneAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, b := &fake{}, &book{}
		p := verifier(f, b, NeverVerifyPreloadedImages)
		for _, name := range []string{"reg.io/a:v1", "reg.io/b:v1"} {
			ask(t, p, nobody, "", name)
		}
		time.Sleep(time.Second)
		listed := time.Now()
		time.Sleep(time.Second)
		ask(t, p, nobody, "", "reg.io/c:v1") // after the list
		if err := p.records.Prune(t.Context(), []string{"sha256:id-of-reg.io/a:v1"}, listed); err != nil {
			t.Fatal(err)
		}
		if want := "pulled sha256:id-of-reg.io/a:v1, pulled sha256:id-of-reg.io/c:v1"; b.keys() != want {
			t.Errorf("kept %q, want %q", b.keys(), want)
		}
		if pulled, _ := b.life().Counts(); pulled != 2 {
			t.Errorf("%d records after a restart", pulled)
		}
	})
}

// A login is hashed with the node's own salt, which survives, and stands for nothing on another node.
func TestHashes(t *testing.T) {
	b := &book{}
	l := credential.Login{Username: "jane", Password: "open"}
	r := b.life()
	if err := r.begin(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if a, b := hashOf(l, r.salt), hashOf(l, b.life().salt); a != b {
		t.Error("the hash has changed with a restart")
	}
	if hashOf(l, r.salt) == hashOf(l, (&book{}).life().salt) {
		t.Error("the hash is the same on another node")
	}
	if hashOf(l, r.salt) == hashOf(credential.Login{Username: "jan", Password: "eopen"}, r.salt) {
		t.Error("other logins have the same hash")
	}
}

func TestGrantsAreBounded(t *testing.T) {
	var g grant
	for i := range 3 * mostSecrets {
		g, _ = g.with(grant{Secrets: []proof{{Hash: fmt.Sprint(i)}}})
	}
	if len(g.Secrets) != mostSecrets || g.Secrets[mostSecrets-1].Hash != fmt.Sprint(3*mostSecrets-1) {
		t.Errorf("%d secrets, the last %v", len(g.Secrets), g.Secrets[len(g.Secrets)-1])
	}
}

func TestAllowList(t *testing.T) {
	for _, c := range []struct {
		pattern, image string
		want           bool
	}{
		{"reg.io/org/app", "reg.io/org/app:v1", true},
		{"reg.io/org/app", "reg.io/org/app@sha256:" + strings.Repeat("a", 64), true},
		{"reg.io/org/app", "reg.io/org/application", false},
		{"reg.io/org/app", "reg.io/org/app/sub", false},
		{"reg.io/org/*", "reg.io/org/deep/app:v1", true},
		{"reg.io/org/*", "reg.io/organ/app:v1", false},
		{"reg.io/org/*", "reg.io:5000/org/app", false},
		{"reg.io/*", "reg.io/a", true},
		{"reg.io:5000/*", "reg.io:5000/a", true},
		{"nginx", "docker.io/library/nginx:1", true},
		{"docker.io/library/*", "nginx", true},
		{"docker.io/*", "team/app", true},
		{"team/*", "docker.io/team/app", true},
		{"localhost/*", "localhost/a", true},
	} {
		if got := listed(c.pattern, repositoryOf(c.image)); got != c.want {
			t.Errorf("%s for %s: %v", c.pattern, c.image, got)
		}
	}
}
