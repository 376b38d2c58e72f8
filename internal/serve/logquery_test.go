package serve

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// journal makes a command in the place of journalctl: it says how it was called, and knows only the unit kubelet.
func journal(t *testing.T, s *scene) {
	t.Helper()
	s.faces.journal = filepath.Join(t.TempDir(), "journalctl")
	script := "#!/bin/sh\ncase \"$*\" in *--unit=broken*) echo 'no journal' >&2; exit 1;; *--unit=kubelet*) echo \"$*\";; *--grep*) exit 1;; esac\n"
	if err := os.WriteFile(s.faces.journal, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestNodeLogQuery(t *testing.T) {
	dir := logDir(t)
	s := newScene(t, func(c *Config) { c.SystemLogsDir, c.SystemLogQuery = dir, true })
	journal(t, s)
	const head = "--utc --no-pager --quiet --output=short-precise "
	for _, c := range []struct {
		title, query string
		code         int
		want         string
	}{
		{"one", "query=kubelet", 200, head + "--unit=kubelet\n"},
		{"two", "query=kubelet&query=crio", 200, head + "--unit=kubelet --unit=crio\n"},
		{"all limits", "query=kubelet&sinceTime=2024-05-01T12:00:00%2B02:00&untilTime=2024-05-01T11:00:00Z&tailLines=5&pattern=a+b&boot=-1", 200,
			head + "--since=2024-05-01 10:00:00 UTC --until=2024-05-01 11:00:00 UTC --lines=5 --grep=a b --boot=-1 --unit=kubelet\n"},
		{"nothing found", "query=crio&pattern=x", 200, ""},
		{"file of a service", "query=foo", 200, "foo\n"},
		{"file in its directory", "query=bar", 200, "bar\n"},
		{"broken journal, but a file", "query=broken&query=messages", 200, "m\n"},
		{"broken journal", "query=broken", 404, "no log of broken: the journal says: no journal, and the directory of logs has no file of that name"},
		{"a file", "query=/pods/p/app/0.log", 200, "zero\n"},
		{"no such file", "query=/nothing", 404, "/nothing is not below the directory of logs"},
		{"a file outside", "query=/up", 404, "/up is not below the directory of logs"},
		{"a directory", "query=/pods", 404, "/pods is not below the directory of logs"},
		{"nothing", "query=", 400, "query: want the name of a service"},
		{"both", "query=/foo.log&query=kubelet", 400, "query: want services or a file, not both"},
		{"two files", "query=/foo.log&query=/messages", 400, "query: want one file at a time"},
		{"five", "query=a&query=b&query=c&query=d&query=e", 400, "query: want at most 4 services, these are 5"},
		{"long", "query=" + strings.Repeat("x", 257), 400, "is longer than 256 characters"},
		{"an option", "query=--file%3D/etc/shadow", 400, `query: "--file=/etc/shadow" is no name of a service`},
		{"a command", "query=a%3Breboot", 400, `query: "a;reboot" is no name of a service`},
		{"bad time", "query=a&sinceTime=noon", 400, `sinceTime: "noon" is not a time such as`},
		{"times", "query=a&sinceTime=2024-05-01T12:00:00Z&untilTime=2024-05-01T11:00:00Z", 400, "untilTime: it is before sinceTime"},
		{"bad lines", "query=a&tailLines=100001", 400, `tailLines: "100001" is not a number from 0 to 100000`},
		{"bad boot", "query=a&boot=1", 400, `boot: "1" is not 0`},
		{"bad pattern", "query=a&pattern=(", 400, `pattern: "(" is no regular expression`},
		{"limits of a file", "query=/foo.log&tailLines=1", 400, "query: a file is shown whole"},
	} {
		t.Run(c.title, func(t *testing.T) {
			code, _, body := s.ask(Full, http.MethodGet, "/logs/?"+c.query)
			if code != c.code || code == 200 && body != c.want || code != 200 && !strings.Contains(body, c.want) {
				t.Errorf("%d %q, want %d %q", code, body, c.code, c.want)
			}
		})
	}
	s.want(t, Full, "/logs/pods?query=kubelet", 400, "a query belongs to /logs/, not to a file below it")
	s.faces.journal += "-that-is-not-there"
	s.want(t, Full, "/logs/?query=foo", 200, "foo")
	s.want(t, Full, "/logs/?query=kubelet", 404, "no log of kubelet: this node has no journal that can be read, and the directory of logs has no file of that name")
	off := newScene(t, func(c *Config) { c.SystemLogsDir = dir })
	if _, _, body := off.ask(Full, http.MethodGet, "/logs/?query=kubelet"); !strings.Contains(body, `<a href="messages">`) {
		t.Errorf("with the query turned off: %s", body)
	}
}

func FuzzNodeLogQuery(f *testing.F) {
	f.Add("query=kubelet&tailLines=5&pattern=x&boot=0")
	f.Add("query=/a&query=--x")
	f.Fuzz(func(t *testing.T, text string) {
		q, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		n, err := parseNodeQuery(q)
		if err != nil {
			return
		}
		for _, arg := range n.arguments() {
			if !strings.HasPrefix(arg, "--") || strings.ContainsRune(arg, 0) {
				t.Errorf("%q becomes the argument %q", text, arg)
			}
		}
	})
}
