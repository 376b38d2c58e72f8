package image

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/credential"
	"github.com/bosun-project/bosun/internal/fault"
)

// fake is a runtime with a registry behind it. A pull takes a second unless pull says otherwise.
type fake struct {
	mu      sync.Mutex
	present map[string]*runtimeapi.Image
	// pull answers a pull in the registry's place; nil error means that the image is there afterwards.
	pull func(ctx context.Context, name string, auth *runtimeapi.AuthConfig) error
	// inspect, if set, is what ImageStatus fails with.
	inspect error
	// vanish makes pulled images not be there.
	vanish bool

	pulls, cut, atOnce, most int
	users                    []string
	specs                    []*runtimeapi.ImageSpec
}

func (f *fake) ImageStatus(ctx context.Context, spec *runtimeapi.ImageSpec) (*runtimeapi.Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return nil, fault.As(context.Canceled, errors.New("cancelled"))
	}
	return f.present[spec.Image], f.inspect
}

func (f *fake) PullImage(ctx context.Context, spec *runtimeapi.ImageSpec, auth *runtimeapi.AuthConfig, _ *runtimeapi.PodSandboxConfig) (string, error) {
	f.mu.Lock()
	f.pulls++
	f.atOnce++
	f.most = max(f.most, f.atOnce)
	f.users = append(f.users, auth.GetUsername())
	f.specs = append(f.specs, spec)
	pull := f.pull
	f.mu.Unlock()
	if pull == nil {
		pull = func(ctx context.Context, _ string, _ *runtimeapi.AuthConfig) error { return pause(ctx, time.Second) }
	}
	err := pull(ctx, spec.Image, auth)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.atOnce--
	if ctx.Err() != nil {
		f.cut++
		return "", fault.As(context.Canceled, errors.New("cancelled"))
	}
	if err != nil {
		return "", err
	}
	id := "sha256:id-of-" + spec.Image
	if !f.vanish {
		f.keep(&runtimeapi.Image{Id: id, Size: 1000, Username: "nginx"}, id, spec.Image)
	}
	return id, nil
}

func (f *fake) keep(img *runtimeapi.Image, names ...string) {
	if f.present == nil {
		f.present = map[string]*runtimeapi.Image{}
	}
	for _, n := range names {
		f.present[n] = img
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func refused(format string, args ...any) error { return fmt.Errorf(format, args...) }

// keyring hands out logins: those of the secrets' registries as user names, then its own.
type keyring struct {
	own []credential.Login
	err error
}

func (k keyring) Lookup(_ context.Context, _ string, by credential.Asker) ([]credential.Found, error) {
	all := logins(by.Secrets)
	for _, l := range k.own {
		all = append(all, credential.Found{Login: l, Node: true})
	}
	return all, k.err
}

func (k keyring) Own(ctx context.Context, _ string, by credential.Asker) ([]credential.Found, credential.Owner, error) {
	if by.Identity == nil {
		return logins(by.Secrets), credential.Owner{}, nil
	}
	a, err := by.Identity.Account(ctx)
	return logins(by.Secrets), a.Owner, err
}

func logins(secrets []credential.Config) []credential.Found {
	var all []credential.Found
	for _, s := range secrets {
		for _, name := range s.Registries() {
			all = append(all, credential.Found{Login: credential.Login{Username: name, Password: "word-of-" + name}, Secrets: []credential.Owner{s.Owner}})
		}
	}
	return all
}

// secret is a pod with a pull secret.
func secret(name string) credential.Asker {
	c, err := credential.ParseConfigJSON(fmt.Appendf(nil, `{"auths":{%q:{"username":"x"}}}`, name), "test")
	if err != nil {
		panic(err)
	}
	c.Owner = credential.Owner{UID: "uid-of-" + name, Namespace: "shop", Name: name}
	return credential.Asker{Secrets: []credential.Config{c}}
}
