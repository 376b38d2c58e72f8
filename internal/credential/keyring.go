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
// node's own; within each the most specific registry pattern first (behaviour 159). None means: pull anonymously.
//
// An error tells of a source that could not be asked, such as a broken file or a provider that timed out; the logins
// of the other sources are returned with it, so the caller goes on and shows the error if the registry then refuses.
func (k *Keyring) Lookup(ctx context.Context, image string, secrets []Config) ([]Login, error) {
	t, err := parseTarget(image)
	if err != nil {
		return nil, err
	}
	var pulled []entry
	for _, s := range secrets {
		pulled = append(pulled, s.entries...)
	}
	config, fresh, fileErr := k.files.current()
	for _, err := range fresh {
		k.log.Warn("docker config file is broken; its bad parts are passed over", "err", err)
	}
	own := slices.Clone(config.entries)
	var providerErr error
	if k.providers != nil {
		var offered []entry
		offered, providerErr = k.providers.lookup(ctx, t)
		own = append(own, offered...)
		if providerErr != nil && ctx.Err() == nil {
			k.log.Warn("credential provider failed", "image", t.repository, "err", providerErr)
		}
	}
	logins := fitting(pulled, t)
	for _, l := range fitting(own, t) {
		if !slices.Contains(logins, l) {
			logins = append(logins, l)
		}
	}
	return logins, errors.Join(fileErr, providerErr)
}

// fitting picks the logins for an image. Patterns are taken in reverse order of their text, as the credential
// provider API promises: longer ones come before shorter ones with the same beginning, names before globs.
func fitting(entries []entry, t target) []Login {
	var fit []entry
	for _, e := range entries {
		if e.pattern.matches(t) {
			fit = append(fit, e)
		}
	}
	slices.SortStableFunc(fit, func(a, b entry) int { return cmp.Compare(b.pattern.text, a.pattern.text) })
	var logins []Login
	for _, e := range fit {
		if !slices.Contains(logins, e.login) {
			logins = append(logins, e.login)
		}
	}
	return logins
}
