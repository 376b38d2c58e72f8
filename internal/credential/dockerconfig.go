package credential

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Config is the logins of one docker config file or pull secret. The zero value has none.
type Config struct {
	// Origin names the file or the secret, for people.
	Origin string
	// Owner is the secret; zero for a file.
	Owner   Owner
	entries []entry
}

type entry struct {
	pattern pattern
	login   Login
}

// Len is how many logins there are.
func (c Config) Len() int { return len(c.entries) }

// Registries lists the normal spellings of what the logins are for, in the order of the file.
func (c Config) Registries() []string {
	var all []string
	for _, e := range c.entries {
		all = append(all, e.pattern.text)
	}
	return all
}

// GoString keeps the secrets from %#v.
func (c Config) GoString() string {
	return fmt.Sprintf("credential.Config{%s: %d logins}", c.Origin, c.Len())
}

// String keeps the secrets from %v.
func (c Config) String() string { return c.GoString() }

// ParseConfigJSON reads docker's config.json (and secrets of type kubernetes.io/dockerconfigjson): logins are under
// "auths", other members are not for the node. A bad login is told of in the error; the good ones are returned all
// the same.
func ParseConfigJSON(data []byte, origin string) (Config, error) {
	top, err := members(data)
	if err != nil {
		return Config{Origin: origin}, fmt.Errorf("%s: %w", origin, err)
	}
	raw, ok := top["auths"]
	if !ok || string(raw) == "null" {
		return Config{Origin: origin}, nil
	}
	auths, err := members(raw)
	if err != nil {
		return Config{Origin: origin}, fmt.Errorf("%s: auths: %w", origin, err)
	}
	return parseAuths(auths, origin, "auths")
}

// ParseDockercfg reads the older .dockercfg (and secrets of type kubernetes.io/dockercfg): an object whose members
// are registries. A file of the newer form under the old name is understood too.
func ParseDockercfg(data []byte, origin string) (Config, error) {
	top, err := members(data)
	if err != nil {
		return Config{Origin: origin}, fmt.Errorf("%s: %w", origin, err)
	}
	if _, newer := top["auths"]; newer {
		return ParseConfigJSON(data, origin)
	}
	return parseAuths(top, origin, "")
}

// FromSecret reads a pull secret.
func FromSecret(s *v1.Secret) (Config, error) {
	origin := "secret " + s.Namespace + "/" + s.Name
	parse, key := ParseConfigJSON, v1.DockerConfigJsonKey
	switch s.Type {
	case v1.SecretTypeDockerConfigJson:
	case v1.SecretTypeDockercfg:
		parse, key = ParseDockercfg, v1.DockerConfigKey
	default:
		return Config{Origin: origin}, fmt.Errorf("%s: type is %q; a pull secret must be of type %s or %s", origin, s.Type, v1.SecretTypeDockerConfigJson, v1.SecretTypeDockercfg)
	}
	data, ok := s.Data[key]
	if !ok {
		return Config{Origin: origin}, fmt.Errorf("%s: has no key %s", origin, key)
	}
	c, err := parse(data, origin+" key "+key)
	c.Owner = Owner{UID: string(s.UID), Namespace: s.Namespace, Name: s.Name}
	return c, err
}

// parseAuths reads logins by registry, in the order of their names, because an object has none.
func parseAuths(auths map[string]json.RawMessage, origin, field string) (Config, error) {
	c := Config{Origin: origin}
	var bad []error
	names := make([]string, 0, len(auths))
	for name := range auths {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		where := field + "[" + showName(name) + "]"
		p, err := parsePattern(name)
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %s: the registry's name %w", origin, where, err))
			continue
		}
		login, err := parseLogin(auths[name])
		if err != nil {
			bad = append(bad, fmt.Errorf("%s: %s%w", origin, where, err))
			continue
		}
		if !login.Anonymous() { // docker leaves empty entries behind when a credential helper keeps the secret
			c.entries = append(c.entries, entry{p, login})
		}
	}
	return c, errors.Join(bad...)
}

// showName hides user information that somebody put into the registry's name.
func showName(name string) string {
	if at := strings.LastIndexByte(name, '@'); at >= 0 {
		name = redacted + name[at:]
	}
	return fmt.Sprintf("%q", tidy(name))
}

// parseLogin reads one login. Errors begin with the field's name and a dot, and do not quote what was there.
func parseLogin(raw json.RawMessage) (Login, error) {
	if string(raw) == "null" {
		return Login{}, nil
	}
	fields, err := members(raw)
	if err != nil {
		return Login{}, fmt.Errorf(": %w", err)
	}
	text := map[string]string{}
	for _, name := range []string{"auth", "username", "password", "identitytoken", "registrytoken"} {
		v, ok := fields[name]
		if !ok {
			continue
		}
		var s *string
		if json.Unmarshal(v, &s) != nil {
			return Login{}, fmt.Errorf(".%s: is not a string", name)
		}
		if s != nil {
			text[name] = *s
		}
	}
	switch { // a token outranks the user name beside it, which is then only a placeholder
	case text["identitytoken"] != "":
		return Login{IdentityToken: text["identitytoken"]}, nil
	case text["registrytoken"] != "":
		return Login{RegistryToken: text["registrytoken"]}, nil
	case text["auth"] != "":
		return decodeAuth(text["auth"])
	}
	return Login{Username: text["username"], Password: text["password"]}, nil
}

func decodeAuth(auth string) (Login, error) {
	auth = strings.TrimRight(strings.TrimSpace(auth), "=")
	pair, err := base64.RawStdEncoding.DecodeString(auth)
	if err != nil {
		pair, err = base64.RawURLEncoding.DecodeString(auth)
	}
	if err != nil {
		return Login{}, errors.New(".auth: is not base64")
	}
	name, password, found := strings.Cut(string(pair), ":")
	if !found {
		return Login{}, errors.New(".auth: does not decode to username:password")
	}
	return Login{Username: name, Password: strings.Trim(password, "\x00")}, nil
}

// members splits a JSON object without interpreting what is in it, and without repeating any of it in an error.
func members(data []byte) (map[string]json.RawMessage, error) {
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil, errors.New("is empty; it must be a JSON object")
	}
	var m map[string]json.RawMessage
	err := json.Unmarshal(data, &m)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("is not JSON (at byte %d)", syntax.Offset)
	case err != nil || m == nil:
		return nil, errors.New("must be a JSON object")
	}
	return m, nil
}
