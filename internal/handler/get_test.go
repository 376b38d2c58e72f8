package handler

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

var app = &v1.Container{Name: "app", Ports: []v1.ContainerPort{{Name: "web", ContainerPort: 80}, {Name: "admin", ContainerPort: 8081}}}

func headersOf(pairs ...string) (all []v1.HTTPHeader) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, v1.HTTPHeader{Name: pairs[i], Value: pairs[i+1]})
	}
	return all
}

// text writes a Get out as a test can read it: URL, Host header, other headers.
func text(g Get) string {
	s := g.URL.String() + " " + g.Host
	for _, h := range g.Headers {
		s += fmt.Sprintf(" %s=%s", h.Name, h.Value)
	}
	return s
}

func TestNewGet(t *testing.T) {
	const defaults = " User-Agent=me/1 Accept=*/*"
	for name, c := range map[string]struct {
		get  v1.HTTPGetAction
		want string
	}{
		"plain":                  {v1.HTTPGetAction{Path: "/stop"}, "http://10.0.0.7:8080/stop " + defaults},
		"empty":                  {v1.HTTPGetAction{}, "http://10.0.0.7:8080/ " + defaults},
		"query":                  {v1.HTTPGetAction{Path: "/stop?now=yes&x=%2F"}, "http://10.0.0.7:8080/stop?now=yes&x=%2F " + defaults},
		"query alone":            {v1.HTTPGetAction{Path: "?now"}, "http://10.0.0.7:8080/?now " + defaults},
		"relative":               {v1.HTTPGetAction{Path: "stop/it"}, "http://10.0.0.7:8080/stop/it " + defaults},
		"escaped slash":          {v1.HTTPGetAction{Path: "/a%2Fb"}, "http://10.0.0.7:8080/a%2Fb " + defaults},
		"with a colon":           {v1.HTTPGetAction{Path: "stop:it"}, "http://10.0.0.7:8080/stop:it " + defaults},
		"stray percent":          {v1.HTTPGetAction{Path: "/100%"}, "http://10.0.0.7:8080/100%25 " + defaults},
		"another host in path":   {v1.HTTPGetAction{Path: "https://joe:word@elsewhere.example.com/stop"}, "http://10.0.0.7:8080/stop " + defaults},
		"host":                   {v1.HTTPGetAction{Path: "/", Host: "localhost"}, "http://localhost:8080/ " + defaults},
		"IPv6":                   {v1.HTTPGetAction{Path: "/", Host: "fd00::7"}, "http://[fd00::7]:8080/ " + defaults},
		"named port":             {v1.HTTPGetAction{Path: "/", Port: intstr.FromString("admin")}, "http://10.0.0.7:8081/ " + defaults},
		"number as text":         {v1.HTTPGetAction{Path: "/", Port: intstr.FromString("99")}, "http://10.0.0.7:99/ " + defaults},
		"scheme":                 {v1.HTTPGetAction{Path: "/", Scheme: v1.URISchemeHTTPS}, "https://10.0.0.7:8080/ " + defaults},
		"headers":                {v1.HTTPGetAction{Path: "/", HTTPHeaders: headersOf("X-A", "1", "x-a", "2")}, "http://10.0.0.7:8080/  X-A=1 x-a=2" + defaults},
		"host header":            {v1.HTTPGetAction{Path: "/", HTTPHeaders: headersOf("host", "shop.example.com")}, "http://10.0.0.7:8080/ shop.example.com" + defaults},
		"own agent":              {v1.HTTPGetAction{Path: "/", HTTPHeaders: headersOf("user-agent", "curl")}, "http://10.0.0.7:8080/  user-agent=curl Accept=*/*"},
		"no agent":               {v1.HTTPGetAction{Path: "/", HTTPHeaders: headersOf("User-Agent", "")}, "http://10.0.0.7:8080/  User-Agent= Accept=*/*"},
		"own accept":             {v1.HTTPGetAction{Path: "/", HTTPHeaders: headersOf("Accept", "text/plain")}, "http://10.0.0.7:8080/  Accept=text/plain User-Agent=me/1"},
		"no accept":              {v1.HTTPGetAction{Path: "/", HTTPHeaders: headersOf("accept", "", "X-A", "1")}, "http://10.0.0.7:8080/  X-A=1 User-Agent=me/1"},
		"an empty accept of two": {v1.HTTPGetAction{Path: "/", HTTPHeaders: headersOf("Accept", "", "Accept", "a/b")}, "http://10.0.0.7:8080/  Accept= Accept=a/b User-Agent=me/1"},
	} {
		if c.get.Port == (intstr.IntOrString{}) {
			c.get.Port = intstr.FromInt32(8080)
		}
		got, err := NewGet(&c.get, app, "10.0.0.7", "me/1")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if text(got) != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, text(got), c.want)
		}
	}
}

func TestNewGetThatCannotBeSent(t *testing.T) {
	for _, c := range []struct {
		get  v1.HTTPGetAction
		ip   string
		want string
	}{
		{v1.HTTPGetAction{Port: intstr.FromString("metrics")}, "10.0.0.7", `container "app" has no port named "metrics"`},
		{v1.HTTPGetAction{Port: intstr.FromInt32(70000)}, "10.0.0.7", "port 70000 is not between 1 and 65535"},
		{v1.HTTPGetAction{Port: intstr.FromInt32(-1)}, "10.0.0.7", "port -1 is not between 1 and 65535"},
		{v1.HTTPGetAction{Port: intstr.FromInt32(0)}, "10.0.0.7", "port 0 is not between 1 and 65535"},
		{v1.HTTPGetAction{Port: intstr.FromInt32(80), Scheme: "GOPHER"}, "10.0.0.7", `scheme "GOPHER" is neither HTTP nor HTTPS`},
		{v1.HTTPGetAction{Port: intstr.FromInt32(80)}, "", "the pod has no IP address and the handler names no host"},
	} {
		if _, err := NewGet(&c.get, app, c.ip, "me/1"); err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
}

func TestHeadersOfTheHandlerStayAsTheyAre(t *testing.T) {
	given := headersOf("X-A", "1", "Accept", "", "X-B", "2")
	h := &v1.HTTPGetAction{Port: intstr.FromInt32(80), HTTPHeaders: given}
	if _, err := NewGet(h, app, "10.0.0.7", "me/1"); err != nil || given[1].Name != "Accept" || given[2].Name != "X-B" {
		t.Errorf("%v, and the pod's own list became %v", err, given)
	}
}

func TestWithoutQuery(t *testing.T) {
	u := &url.URL{Scheme: "http", Host: "10.0.0.7:80", Path: "/x", RawQuery: "token=s3cret", User: url.UserPassword("joe", "s3cret")}
	cause := errors.New("connection refused")
	err := WithoutQuery(&url.Error{Op: "Get", URL: u.String(), Err: cause}, u)
	if err.Error() != `Get "http://10.0.0.7:80/x": connection refused` || !errors.Is(err, cause) {
		t.Error(err)
	}
	if err := WithoutQuery(cause, u); err != cause {
		t.Errorf("an error without URL became %v", err)
	}
}

// FuzzNewGet holds that no path and no host leads to another place than the handler's.
func FuzzNewGet(f *testing.F) {
	for _, p := range []string{"/healthz", "healthz", "a:b", "http://x/y?z", "//x/y", "/100%", "?", "#f", "/\x00", "*", ""} {
		f.Add(p, "")
	}
	f.Add("/", "fd00::1")
	f.Add("/", "example.com")
	f.Fuzz(func(t *testing.T, path, host string) {
		h := &v1.HTTPGetAction{Path: path, Host: host, Port: intstr.FromInt32(8080)}
		got, err := NewGet(h, app, "127.0.0.1", "me/1")
		if err != nil {
			t.Fatalf("path %q: %v", path, err)
		}
		if host == "" {
			host = "127.0.0.1"
		}
		u := got.URL
		if u.Host != net.JoinHostPort(host, strconv.Itoa(8080)) || u.Scheme != "http" || u.User != nil || u.Opaque != "" || !strings.HasPrefix(u.Path, "/") {
			t.Errorf("path %q led to %s", path, u)
		}
		// It is sent as text, which is read once more.
		if again, err := url.Parse(u.String()); err == nil && (again.Host != u.Host || again.User != nil || again.Path != u.Path) {
			t.Errorf("path %q, host %q: %s is read as %q %q %v", path, host, u, again.Host, again.Path, again.User)
		}
	})
}
