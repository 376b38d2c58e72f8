package credential

import (
	"errors"
	"fmt"
	"net"
	"path"
	"strings"

	"github.com/distribution/reference"
)

// dockerHub is the one name under which all spellings of Docker's registry are kept.
const dockerHub = "docker.io"

// hubNames are hosts that have meant Docker's registry over the years; docker login writes the second.
var hubNames = map[string]bool{
	dockerHub: true, "index.docker.io": true, "registry-1.docker.io": true, "registry.hub.docker.com": true,
}

// pattern says which images a login is for: host[:port][/path], with globs in the labels of the host.
type pattern struct {
	labels []string
	port   string
	path   string
	// text is the normal spelling; patterns are ordered by it.
	text string
}

var (
	errNoHost  = errors.New("names no host")
	errBadGlob = errors.New("has a malformed glob in its host")
	errBadPort = errors.New("has a port that is not a number")
)

// parsePattern understands what docker login, people and credential providers write as the name of a registry. Scheme,
// user information and the API prefixes /v1/ and /v2/ do not count (behaviour 161).
func parsePattern(s string) (pattern, error) {
	s = strings.TrimSpace(s)
	if _, rest, found := strings.Cut(s, "://"); found {
		s = rest
	}
	authority, rest, hasPath := strings.Cut(s, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = authority[at+1:]
	}
	host, port, err := splitPort(strings.ToLower(authority))
	if err != nil {
		return pattern{}, err
	}
	if host == "" {
		return pattern{}, errNoHost
	}
	if hubNames[host] {
		host = dockerHub
	}
	p := pattern{labels: strings.Split(host, "."), port: port}
	for _, label := range p.labels {
		if _, err := path.Match(label, ""); err != nil {
			return pattern{}, errBadGlob
		}
	}
	if hasPath {
		p.path = trimAPI("/" + rest)
	}
	p.text = joinPort(host, port) + p.path
	return p, nil
}

// trimAPI removes what addresses the registry's API and not a repository.
func trimAPI(p string) string {
	for _, v := range []string{"/v1", "/v2"} {
		if p == v || strings.HasPrefix(p, v+"/") {
			p = p[len(v):]
			break
		}
	}
	if p == "/" {
		return ""
	}
	return p
}

func splitPort(authority string) (host, port string, err error) {
	if strings.HasPrefix(authority, "[") && strings.HasSuffix(authority, "]") { // IPv6 without a port
		return authority[1 : len(authority)-1], "", nil
	}
	if !strings.Contains(authority, ":") {
		return authority, "", nil
	}
	host, port, err = net.SplitHostPort(authority)
	if err != nil || strings.Trim(port, "0123456789") != "" || port == "" {
		return "", "", errBadPort
	}
	return host, port, nil
}

func joinPort(host, port string) string {
	if port == "" {
		return host
	}
	return net.JoinHostPort(host, port)
}

// target is an image as patterns see it: without tag and digest.
type target struct {
	hosts [][]string
	port  string
	path  string
	// registry is host[:port], repository is registry and path.
	registry, repository string
}

func parseTarget(image string) (target, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return target{}, fmt.Errorf("image name %q: %w", image, err)
	}
	domain := strings.ToLower(reference.Domain(named))
	host, port, err := splitPort(domain)
	if err != nil {
		return target{}, fmt.Errorf("image name %q: registry %w", image, err)
	}
	t := target{port: port, path: "/" + reference.Path(named), registry: domain, repository: domain + "/" + reference.Path(named)}
	t.hosts = append(t.hosts, strings.Split(host, "."))
	if host == dockerHub { // a glob such as *.docker.io is meant for the name docker login writes
		t.hosts = append(t.hosts, []string{"index", "docker", "io"}, []string{"registry-1", "docker", "io"})
	}
	return t, nil
}

// matches tells whether a login under this pattern is for the image: as many labels and each fits, the same port, and
// the path is a prefix of the image's.
func (p pattern) matches(t target) bool {
	if p.port != t.port || !strings.HasPrefix(t.path, p.path) {
		return false
	}
	for _, labels := range t.hosts {
		if p.matchesHost(labels) {
			return true
		}
	}
	return false
}

func (p pattern) matchesHost(labels []string) bool {
	if len(labels) != len(p.labels) {
		return false
	}
	for i, glob := range p.labels {
		if ok, err := path.Match(glob, labels[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
