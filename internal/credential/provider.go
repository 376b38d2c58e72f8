package credential

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	providerconfig "k8s.io/kubelet/config/v1"
	"sigs.k8s.io/yaml"
)

const (
	configGroup   = "kubelet.config.k8s.io/"
	protocolGroup = "credentialprovider.kubelet.k8s.io/"
)

// providerVersions are the versions of the configuration and of the protocol that are spoken. In what the node uses
// of them they differ only in that v1 alone has tokenAttributes.
var providerVersions = [...]string{"v1", "v1beta1", "v1alpha1"}

// provider is one program that is asked for logins.
type provider struct {
	name         string
	path         string
	args         []string
	env          []string
	apiVersion   string
	patterns     []pattern
	defaultCache time.Duration
	// tokens is set for a provider that is asked on behalf of service accounts (behaviour 163).
	tokens *tokenUse
}

// LoadProviders reads the CredentialProviderConfig in a file, or in the .json, .yaml and .yml files of a directory in
// the order of their names (behaviour 162), and finds each provider's program in binDir. All mistakes are reported at once.
func LoadProviders(configPath, binDir string) (*Providers, error) {
	paths, err := configFiles(configPath)
	if err != nil {
		return nil, fmt.Errorf("credential provider config: %w", err)
	}
	var all []provider
	var bad []error
	owner := map[string]string{}
	for _, path := range paths {
		config, err := readProviderConfig(path)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		for i := range config.Providers {
			field := fmt.Sprintf("%s: providers[%d]", path, i)
			p, errs := checkProvider(&config.Providers[i], config.APIVersion, binDir)
			if first, twice := owner[p.name]; twice && p.name != "" {
				errs = append(errs, fmt.Errorf(".name: %q is also the name of %s; it must be unique", p.name, first))
			}
			owner[p.name] = cmp.Or(owner[p.name], field)
			for _, err := range errs {
				bad = append(bad, fmt.Errorf("%s%w", field, err))
			}
			all = append(all, p)
		}
	}
	if len(bad) > 0 {
		return nil, errors.Join(bad...)
	}
	return newProviders(all), nil
}

func configFiles(path string) ([]string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if slices.Contains([]string{".json", ".yaml", ".yml"}, filepath.Ext(e.Name())) && !e.IsDir() {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("directory %s has no .json, .yaml or .yml file", path)
	}
	return files, nil
}

func readProviderConfig(path string) (*providerconfig.CredentialProviderConfig, error) {
	data, _, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("credential provider config: %w", err)
	}
	var config providerconfig.CredentialProviderConfig
	if err := yaml.UnmarshalStrict(data, &config); err != nil {
		return nil, fmt.Errorf("credential provider config %s: %w", path, err)
	}
	version, ok := strings.CutPrefix(config.APIVersion, configGroup)
	if config.Kind != "CredentialProviderConfig" || !ok || !slices.Contains(providerVersions[:], version) {
		return nil, fmt.Errorf("%s: is %q, %q; it must be kind CredentialProviderConfig of apiVersion %s%s",
			path, config.APIVersion, config.Kind, configGroup, strings.Join(providerVersions[:], ", "+configGroup))
	}
	if len(config.Providers) == 0 {
		return nil, fmt.Errorf("%s: providers: names none; at least one is needed", path)
	}
	return &config, nil
}

// checkProvider turns a provider's configuration into a provider. Errors begin with the field's path.
func checkProvider(c *providerconfig.CredentialProvider, configVersion, binDir string) (p provider, bad []error) {
	no := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	p = provider{name: c.Name, args: c.Args, apiVersion: c.APIVersion}
	switch {
	case c.Name == "":
		no(".name: is required")
	case c.Name == "." || c.Name == ".." || strings.ContainsAny(c.Name, "/\\ \x00"):
		no(".name: %q is not the name of a file in the provider directory", c.Name)
	default:
		p.path = filepath.Join(binDir, c.Name)
		if err := runnable(p.path); err != nil {
			no(".name: %w", err)
		}
	}
	version, ok := strings.CutPrefix(c.APIVersion, protocolGroup)
	if !ok || !slices.Contains(providerVersions[:], version) {
		no(".apiVersion: is %q; it must be %s%s", c.APIVersion, protocolGroup, strings.Join(providerVersions[:], " or "+protocolGroup))
	}
	if len(c.MatchImages) == 0 {
		no(".matchImages: is required")
	}
	for i, m := range c.MatchImages {
		pattern, err := parsePattern(m)
		if err != nil {
			no(".matchImages[%d]: %q %w", i, m, err)
			continue
		}
		p.patterns = append(p.patterns, pattern)
	}
	switch {
	case c.DefaultCacheDuration == nil:
		no(".defaultCacheDuration: is required")
	case c.DefaultCacheDuration.Duration < 0:
		no(".defaultCacheDuration: is %v; it must not be negative", c.DefaultCacheDuration.Duration)
	default:
		p.defaultCache = c.DefaultCacheDuration.Duration
	}
	for i, e := range c.Env {
		if e.Name == "" || strings.ContainsAny(e.Name, "=\x00") {
			no(".env[%d].name: is required and must not contain =", i)
		}
		p.env = append(p.env, e.Name+"="+e.Value)
	}
	if c.TokenAttributes != nil {
		t := c.TokenAttributes
		bad = append(bad, checkTokenAttributes(t, configVersion, version)...)
		p.tokens = &tokenUse{
			audience: t.ServiceAccountTokenAudience, perToken: t.CacheType == providerconfig.TokenServiceAccountTokenCacheType,
			needed:   t.RequireServiceAccount != nil && *t.RequireServiceAccount,
			required: t.RequiredServiceAccountAnnotationKeys, optional: t.OptionalServiceAccountAnnotationKeys,
		}
	}
	return p, bad
}

func checkTokenAttributes(t *providerconfig.ServiceAccountTokenAttributes, configVersion, version string) (bad []error) {
	no := func(format string, args ...any) {
		bad = append(bad, fmt.Errorf(".tokenAttributes"+format, args...))
	}
	if configVersion != configGroup+"v1" || version != "v1" {
		no(": needs apiVersion v1 of both the configuration and the provider")
	}
	if t.ServiceAccountTokenAudience == "" {
		no(".serviceAccountTokenAudience: is required")
	}
	if t.CacheType != providerconfig.TokenServiceAccountTokenCacheType && t.CacheType != providerconfig.ServiceAccountServiceAccountTokenCacheType {
		no(".cacheType: is %q; it must be Token or ServiceAccount", t.CacheType)
	}
	if t.RequireServiceAccount == nil {
		no(".requireServiceAccount: is required")
	} else if !*t.RequireServiceAccount && len(t.RequiredServiceAccountAnnotationKeys) > 0 {
		no(".requiredServiceAccountAnnotationKeys: may only be set when requireServiceAccount is true")
	}
	seen := map[string]bool{}
	for _, key := range slices.Concat(t.RequiredServiceAccountAnnotationKeys, t.OptionalServiceAccountAnnotationKeys) {
		if key == "" || seen[key] {
			no(": annotation key %q must not be empty and must be named once only", key)
		}
		seen[key] = true
	}
	return bad
}

func runnable(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the provider's program %s does not exist", path)
	case err != nil:
		return err
	case st.IsDir() || st.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("the provider's program %s cannot be executed", path)
	}
	return nil
}
