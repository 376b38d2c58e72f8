package handler

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A Get is the HTTP request of a handler.
type Get struct {
	// URL has a scheme, a host with port, and a path that begins with a slash.
	URL *url.URL
	// Host is what the Host header says; empty: as the URL.
	Host string
	// Headers are all others, in the order to be added. An empty User-Agent is among them if the handler wants none: net/http
	// would put its own in the place of a missing one.
	Headers []v1.HTTPHeader
}

// NewGet reads an httpGet handler of container c. The request goes to podIP if the handler names no host, and its
// User-Agent is agent if the handler gives none.
func NewGet(h *v1.HTTPGetAction, c *v1.Container, podIP, agent string) (Get, error) {
	port, err := Port(h.Port, c)
	if err != nil {
		return Get{}, err
	}
	host, err := Host(h.Host, podIP)
	if err != nil {
		return Get{}, err
	}
	u, err := url.Parse(h.Path)
	if err != nil || u.Opaque != "" { // not a reference to a path, such as "a:b" or one with a stray %: taken as it is
		u = &url.URL{Path: h.Path}
	}
	u.Scheme, u.Host, u.User = strings.ToLower(string(h.Scheme)), join(host, port), nil
	switch u.Scheme {
	case "":
		u.Scheme = "http"
	case "http", "https":
	default:
		return Get{}, fmt.Errorf("scheme %q is neither HTTP nor HTTPS", h.Scheme)
	}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path, u.RawPath = "/"+u.Path, ""
	}
	get := Get{URL: u}
	get.Host, get.Headers = headers(h.HTTPHeaders, agent)
	return get, nil
}

// headers takes the Host header apart from the others. One that is given outranks a default, and an empty one removes it.
func headers(given []v1.HTTPHeader, agent string) (host string, all []v1.HTTPHeader) {
	for _, h := range given {
		if strings.EqualFold(h.Name, "Host") {
			host = h.Value
			continue
		}
		all = append(all, h)
	}
	named := func(name string) func(v1.HTTPHeader) bool {
		return func(h v1.HTTPHeader) bool { return strings.EqualFold(h.Name, name) }
	}
	if !slices.ContainsFunc(all, named("User-Agent")) {
		all = append(all, v1.HTTPHeader{Name: "User-Agent", Value: agent})
	}
	switch at := slices.IndexFunc(all, named("Accept")); {
	case at < 0:
		all = append(all, v1.HTTPHeader{Name: "Accept", Value: "*/*"})
	case all[at].Value == "" && !slices.ContainsFunc(all[at+1:], named("Accept")):
		all = slices.Delete(all, at, at+1)
	}
	return host, all
}

// Host is where a request goes: to the host that the handler names, or to the pod.
func Host(named, podIP string) (string, error) {
	switch {
	case named != "":
		return named, nil
	case podIP != "":
		return podIP, nil
	}
	return "", errors.New("the pod has no IP address and the handler names no host")
}

// Port resolves a port that is given as a number or as the name of one of the container's ports.
func Port(port intstr.IntOrString, c *v1.Container) (int, error) {
	number := port.IntValue() // 0 for a name
	if port.Type == intstr.String && number == 0 {
		for _, p := range c.Ports {
			if p.Name == port.StrVal {
				number = int(p.ContainerPort)
			}
		}
		if number == 0 {
			return 0, fmt.Errorf("container %q has no port named %q", c.Name, port.StrVal)
		}
	}
	if number < 1 || number > 65535 {
		return 0, fmt.Errorf("port %d is not between 1 and 65535", number)
	}
	return number, nil
}

// join is net.JoinHostPort, which a rule does not import.
func join(host string, port int) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port)
}

// WithoutQuery replaces the URL that net/http puts into its errors by one without query: that may hold a token.
func WithoutQuery(err error, u *url.URL) error {
	var failed *url.Error
	if !errors.As(err, &failed) {
		return err
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return &url.Error{Op: "Get", URL: shown.String(), Err: failed.Err}
}
