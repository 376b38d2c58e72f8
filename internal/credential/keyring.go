package credential

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
)

// KeyringConfig says where a Keyring finds logins.
type KeyringConfig struct {
	// Paths are docker config files, the first usable one winning; see SearchPaths.
	Paths []string
	// Providers are the exec credential providers; nil for none.
	Providers *Providers
	// Log is told once of each broken state of a file, and of each failure of a provider.
	Log *slog.Logger
}

// Keyring answers which logins fit an image. It is safe for concurrent use.
type Keyring struct {
	files     files
	providers *Providers
	log       *slog.Logger
}

// NewKeyring builds a Keyring. No file is read before the first Lookup.
func NewKeyring(c KeyringConfig) *Keyring {
	return &Keyring{files: files{paths: c.Paths}, providers: c.Providers, log: cmp.Or(c.Log, slog.New(slog.DiscardHandler))}
}

// Lookup returns the logins for an image in the order they are to be tried: those of the pull secrets, then the
// node's own and those that providers give; within each the most specific registry pattern first (behaviour 159). None
// means: pull anonymously.
//
// An error tells of a source that could not be asked, such as a broken file or a provider that timed out; the logins
// of the other sources are returned with it, so the caller goes on and shows the error if the registry then refuses.
func (k *Keyring) Lookup(ctx context.Context, image string, by Asker) ([]Found, error) {
	t, err := parseTarget(image)
	if err != nil {
		return nil, err
	}
	config, fresh, fileErr := k.files.current()
	for _, err := range fresh {
		k.log.Warn("docker config file is broken; its bad parts are passed over", "err", err)
	}
	var own []offer
	for _, e := range config.entries {
		own = append(own, offer{entry: e, node: true})
	}
	var providerErr error
	if k.providers != nil {
		var given []offer
		given, providerErr = k.providers.lookup(ctx, t, by.Identity)
		own = append(own, given...)
		if providerErr != nil && ctx.Err() == nil {
			k.log.Warn("credential provider failed", "image", t.repository, "err", providerErr)
		}
	}
	return fitting(t, offersOf(by.Secrets), own), errors.Join(fileErr, providerErr)
}

// Own returns the pod's own claims to an image, without asking any provider: the logins of its pull secrets, and its
// service account if a provider gives logins to that. The error tells why the account is not known.
func (k *Keyring) Own(ctx context.Context, image string, by Asker) (logins []Found, account Owner, err error) {
	t, err := parseTarget(image)
	if err != nil {
		return nil, Owner{}, err
	}
	logins = fitting(t, offersOf(by.Secrets))
	if k.providers == nil || by.Identity == nil || !k.providers.servesAccounts(t) {
		return logins, Owner{}, nil
	}
	a, err := by.Identity.Account(ctx)
	return logins, a.Owner, err
}

func offersOf(secrets []Config) []offer {
	var all []offer
	for _, s := range secrets {
		for _, e := range s.entries {
			all = append(all, offer{entry: e, secret: s.Owner})
		}
	}
	return all
}

// fitting picks the logins for an image, each once, those of an earlier group first. Within a group patterns are taken
// in reverse order of their text, as the credential provider API promises: longer ones come before shorter ones with
// the same beginning, names before globs.
func fitting(t target, groups ...[]offer) []Found {
	var found []Found
	for _, group := range groups {
		var fit []offer
		for _, o := range group {
			if o.pattern.matches(t) {
				fit = append(fit, o)
			}
		}
		slices.SortStableFunc(fit, func(a, b offer) int { return cmp.Compare(b.pattern.text, a.pattern.text) })
		for _, o := range fit {
			at := slices.IndexFunc(found, func(f Found) bool { return f.Login == o.login })
			if at < 0 {
				at = len(found)
				found = append(found, Found{Login: o.login})
			}
			found[at].add(o)
		}
	}
	return found
}
