package image

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/credential"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/reason"
)

func TestPolicies(t *testing.T) { // behaviour 153
	for _, c := range []struct {
		policy  v1.PullPolicy
		present bool
		pulled  bool
		wrong   string
	}{
		{v1.PullAlways, true, true, ""}, {v1.PullAlways, false, true, ""},
		{v1.PullIfNotPresent, true, false, ""}, {v1.PullIfNotPresent, false, true, ""},
		{"", true, false, ""}, {"", false, true, ""},
		{v1.PullNever, true, false, ""},
		{v1.PullNever, false, false, `Container image "nginx" is not present with pull policy of Never`},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{}
			if c.present {
				f.keep(&runtimeapi.Image{Id: "sha256:here", Size: 7, Uid: &runtimeapi.Int64Value{Value: 0}}, "nginx:latest")
			}
			announced := 0
			got, err := New(Config{Service: f}).Ensure(t.Context(), Request{Image: "nginx", Policy: c.policy, OnPull: func() { announced++ }})
			if c.wrong != "" {
				var e *Error
				if !errors.As(err, &e) || e.Reason != reason.ErrImageNeverPull || e.Error() != c.wrong {
					t.Errorf("%s: %v", c.policy, err)
				}
				return
			}
			want := Result{ID: "sha256:here", User: "0", Bytes: 7, Present: true, Open: true}
			if c.pulled {
				want = Result{ID: "sha256:id-of-nginx:latest", User: "nginx", Bytes: 1000, Pulled: true, Took: time.Second, Waited: time.Second}
			}
			if err != nil || got != want {
				t.Errorf("%q, present %v: %+v, %v; want %+v", c.policy, c.present, got, err, want)
			}
			if (announced == 1) != c.pulled || (f.pulls == 1) != c.pulled {
				t.Errorf("%q, present %v: announced %d, pulled %d times", c.policy, c.present, announced, f.pulls)
			}
		})
	}
}

func TestPullRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		_, err := New(Config{Service: f}).Ensure(t.Context(), Request{Image: "nginx", Handler: "kata", Annotations: map[string]string{"a": "b"}})
		if err != nil {
			t.Fatal(err)
		}
		s := f.specs[0]
		if s.Image != "nginx:latest" || s.UserSpecifiedImage != "nginx" || s.RuntimeHandler != "kata" || s.Annotations["a"] != "b" {
			t.Errorf("asked for %v", s)
		}
	})
}

func TestReasons(t *testing.T) { // behaviours 153, 154, 158
	for _, c := range []struct {
		name    string
		image   string
		service *fake
		keyring keyring
		reason  string
		text    string
		away    bool
	}{
		{name: "bad name", image: "Nginx", service: &fake{}, reason: reason.InvalidImageName, text: `Failed to apply default image tag "Nginx"`},
		{name: "inspect", image: "a", service: &fake{inspect: errors.New("inspect image a:latest: disk on fire")}, reason: reason.ImageInspectError,
			text: `Failed to inspect image "a": disk on fire`},
		{name: "runtime away", image: "a", service: &fake{inspect: fault.As(fault.ErrUnavailable, errors.New("inspect image a:latest: dial unix /run/c.sock: no such file"))},
			reason: reason.ImageInspectError, text: `Failed to inspect image "a": dial unix`, away: true},
		{name: "not found", image: "a", service: &fake{pull: answer(fault.As(fault.ErrNotFound, errors.New("pull image a:latest: a:latest: not found")))}, reason: reason.ErrImagePull,
			text: `a:latest: not found`},
		{name: "registry's own unavailable", image: "a", service: &fake{pull: answer(fault.As(fault.ErrUnavailable, errors.New("503")))}, reason: reason.ErrImagePull, text: "503"},
		{name: "runtime dies in a pull", image: "a", service: &fake{pull: answer(fault.As(fault.ErrUnavailable, errors.New("pull image a:latest: error reading from server: EOF")))},
			reason: reason.ErrImagePull, text: "error reading from server: EOF", away: true},
		{name: "registry unavailable", image: "a", service: &fake{pull: answer(refused("pull image a:latest: RegistryUnavailable: dial tcp: refused"))}, reason: reason.RegistryUnavailable,
			text: "image pull failed for a because the registry is unavailable: dial tcp: refused"},
		{name: "signature", image: "a", service: &fake{pull: answer(refused("rpc error: code = Unknown desc = SignatureValidationFailed: no key"))}, reason: reason.SignatureValidationFailed,
			text: "image pull failed for a because the signature validation failed: no key"},
		{name: "word in the middle", image: "a", service: &fake{pull: answer(refused("mirror said RegistryUnavailable"))}, reason: reason.ErrImagePull, text: "mirror said RegistryUnavailable"},
		{name: "nonsense", image: "a", service: &fake{pull: answer(refused("unexpected status: 200 OK: <html>\x00\x1b[2J%s", strings.Repeat("junk ", 10000)))}, reason: reason.ErrImagePull, text: "<html>  [2Jjunk"},
		{name: "not a gRPC error", image: "a", service: &fake{pull: answer(errors.New("plain"))}, reason: reason.ErrImagePull, text: "plain"},
		{name: "vanished", image: "a", service: &fake{vanish: true}, reason: reason.ErrImagePull, text: `the runtime reported image "a" as pulled (sha256:id-of-a:latest) but does not have it`},
		{name: "credentials not found", image: "a", service: &fake{pull: answer(refused("unauthorized"))}, keyring: keyring{err: errors.New("credential provider ecr: no answer")},
			reason: reason.ErrImagePull, text: "unauthorized (not all credentials could be looked up: credential provider ecr: no answer)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := New(Config{Service: c.service, Keyring: c.keyring}).Ensure(t.Context(), Request{Image: c.image})
				var e *Error
				if !errors.As(err, &e) || e.Reason != c.reason || !strings.Contains(e.Message, c.text) || e.Image != c.image || e.RuntimeAway() != c.away {
					t.Fatalf("%v (%+v), want %s: %s", err, e, c.reason, c.text)
				}
				if len(e.Message) > 2500 {
					t.Errorf("message has %d bytes", len(e.Message))
				}
			})
		})
	}
}

func answer(err error) func(context.Context, string, *runtimeapi.AuthConfig) error {
	return func(context.Context, string, *runtimeapi.AuthConfig) error { return err }
}

func TestLoginsAreTriedInTurn(t *testing.T) { // behaviour 159
	for _, c := range []struct {
		good  string
		users []string
		wrong string
	}{
		{"first", []string{"first"}, ""},
		{"node", []string{"first", "node"}, ""},
		{"nobody", []string{"first", "node", "node"}, `no "first"; no "node"`},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{pull: func(_ context.Context, _ string, auth *runtimeapi.AuthConfig) error {
				if auth.GetUsername() != c.good {
					return refused("no %q", auth.GetUsername())
				}
				return nil
			}}
			own := []credential.Login{{Username: "node", Password: "one"}, {Username: "node", Password: "two"}}
			_, err := New(Config{Service: f, Keyring: keyring{own: own}}).Ensure(t.Context(), Request{Image: "reg.io/a", By: secret("first")})
			if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || err.Error() != c.wrong) {
				t.Errorf("%s: %v", c.good, err)
			}
			if !slices.Equal(f.users, c.users) {
				t.Errorf("%s: tried %q, want %q", c.good, f.users, c.users)
			}
		})
	}
}

func TestAnonymousIfNothingFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{pull: func(_ context.Context, _ string, auth *runtimeapi.AuthConfig) error {
			if auth != nil {
				return refused("a login was sent")
			}
			return nil
		}}
		if _, err := New(Config{Service: f, Keyring: keyring{}}).Ensure(t.Context(), Request{Image: "a"}); err != nil {
			t.Error(err)
		}
	})
}

func TestSecretsStayOutOfErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		login := credential.Login{Username: "joe", Password: "hunter22"}
		f := &fake{pull: answer(fault.As(fault.ErrDenied, refused(`Get "https://joe:hunter22@reg.io/v2/?token=abc": sent joe hunter22`)))}
		_, err := New(Config{Service: f, Keyring: keyring{own: []credential.Login{login}}}).Ensure(t.Context(), Request{Image: "reg.io/a"})
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(e.Error(), "hunter22") || strings.Contains(e.Error(), "abc") {
				t.Errorf("shown: %v", e)
			}
		}
		if !errors.Is(err, fault.ErrDenied) {
			t.Errorf("%v lost its class", err)
		}
		if key := flightKey(&runtimeapi.ImageSpec{Image: "a"}, []credential.Found{{Login: login}}); strings.Contains(key, "hunter") || strings.Contains(key, "joe") {
			t.Errorf("key %q", key)
		}
	})
}
