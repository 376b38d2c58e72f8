package credential

import (
	"strings"
	"testing"
)

func TestPatternMatches(t *testing.T) { // behaviour 161
	for _, c := range []struct {
		pattern, image string
		want           bool
	}{
		{"registry.example.com", "registry.example.com/app", true},
		{"registry.example.com", "registry.example.com/app:v1@sha256:" + strings.Repeat("a", 64), true},
		{"https://registry.example.com/v2/", "registry.example.com/app", true},
		{"http://registry.example.com/v1", "registry.example.com/app", true},
		{"REGISTRY.example.com", "registry.example.com/app", true},
		{"user:word@registry.example.com", "registry.example.com/app", true},
		{"*.example.com", "registry.example.com/app", true},
		{"*.*.com", "registry.example.com/app", true},
		{"reg*.example.com", "registry.example.com/app", true},
		{"*", "registry.example.com/app", false},
		{"*.com", "registry.example.com/app", false},
		{"*.example.com", "example.com/app", false},
		{"*.example.com", "a.b.example.com/app", false},
		{"registry.example.com/team", "registry.example.com/team/app", true},
		{"registry.example.com/team", "registry.example.com/teamwork/app", true}, // the API promises a plain prefix
		{"registry.example.com/team/", "registry.example.com/teamwork/app", false},
		{"registry.example.com/team", "registry.example.com/other/app", false},
		{"registry.example.com/v2/team", "registry.example.com/team/app", true},
		{"registry.example.com/v2x", "registry.example.com/team", false},
		{"registry.example.com:5000", "registry.example.com:5000/app", true},
		{"registry.example.com:5000", "registry.example.com/app", false},
		{"registry.example.com", "registry.example.com:5000/app", false},
		{"[::1]:5000", "[::1]:5000/app", true},
		{"localhost", "localhost/app", true},
		{"localhost:5000", "localhost:5000/app", true},
		{"https://index.docker.io/v1/", "nginx", true},
		{"index.docker.io", "docker.io/library/nginx", true},
		{"docker.io", "nginx:1.27", true},
		{"docker.io", "index.docker.io/library/nginx", true},
		{"registry-1.docker.io", "team/app", true},
		{"*.docker.io", "nginx", true},
		{"docker.io/team", "team/app", true},
		{"docker.io/team", "nginx", false},
		{"docker.io", "quay.io/nginx", false},
	} {
		p, err := parsePattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		target, err := parseTarget(c.image)
		if err != nil {
			t.Errorf("%s: %v", c.image, err)
			continue
		}
		if got := p.matches(target); got != c.want {
			t.Errorf("%s matches %s: %v, want %v", c.pattern, c.image, got, c.want)
		}
	}
}

func TestPatternRefused(t *testing.T) {
	for in, want := range map[string]error{
		"": errNoHost, "https://": errNoHost, "/path": errNoHost, "host:port": errBadPort, "host:": errBadPort,
		"a:b:c": errBadPort, "[a.example.com": errBadGlob, "x.[.com": errBadGlob,
	} {
		if _, err := parsePattern(in); err != want {
			t.Errorf("%q: %v, want %v", in, err, want)
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"https://index.docker.io/v1/", "*.example.com:5000/a", "[::1]:80", "u:p@h/v2/", "[", ""} {
		f.Add(s)
	}
	image, err := parseTarget("docker.io/library/nginx")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePattern(s)
		if err != nil {
			return
		}
		p.matches(image)
		again, err := parsePattern(p.text)
		if err == nil && again.text != p.text && !strings.HasPrefix(p.path, "/v") && !strings.Contains(p.text, "@") && !strings.Contains(p.text, "://") && strings.TrimSpace(p.text) == p.text {
			t.Errorf("%q became %q, and that became %q", s, p.text, again.text)
		}
	})
}
