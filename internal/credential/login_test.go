package credential

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLoginIsNeverShown(t *testing.T) {
	l := Login{Username: "joe", Password: "s3cret", IdentityToken: "tok-en1", RegistryToken: "tok-en2"}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "login", l, "all", []Login{l})
	for _, shown := range []string{fmt.Sprint(l), fmt.Sprintf("%+v", l), fmt.Sprintf("%#v", l), fmt.Sprintf("%v", []Login{l}), log.String()} {
		if strings.Contains(shown, "s3cret") || strings.Contains(shown, "tok-en") || strings.Contains(shown, "joe") {
			t.Errorf("shown: %s", shown)
		}
	}
}

func TestScrub(t *testing.T) {
	login := Login{Username: "joe", Password: "p@ss w/rd", IdentityToken: "identity-1"}
	for _, c := range []struct{ in, want string }{
		{`pull access denied`, `pull access denied`},
		{`no basic auth credentials`, `no basic auth credentials`},
		{`basic authentication failed`, `basic authentication failed`},
		{`Get "https://joe:p%40ss@reg.io/v2/": x509`, `Get "https://[redacted]@reg.io/v2/": x509`},
		{`https://cdn.io/blob?X-Amz-Signature=abc&X-Amz-Date=1&scope=repository:a:pull&service=reg.io`,
			`https://cdn.io/blob?X-Amz-Signature=[redacted]&X-Amz-Date=[redacted]&scope=repository:a:pull&service=reg.io`},
		{`bad password p@ss w/rd given`, `bad password [redacted] given`},
		{`https://a.io/x/p@ss%20w%2Frd`, `https://a.io/x/[redacted]`},
		{`token identity-1 expired`, `token [redacted] expired`},
		{`sent Basic ` + b64("joe:p@ss w/rd"), `sent Basic [redacted]`},
		{`Authorization: Bearer abcdEFGH1234==`, `Authorization: Bearer [redacted]`},
		{`Bearer realm="https://auth.io/token",service="reg.io"`, `Bearer realm="https://auth.io/token",service="reg.io"`},
		{`got eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl here`, `got [redacted] here`},
		{"bell\x07 esc\x1b[31m nl\nok", "bell  esc [31m nl\nok"},
		{"bad \xff utf8", "bad ? utf8"},
	} {
		if got := Scrub(c.in, login, Login{Password: "a"}, Login{}); got != c.want {
			t.Errorf("Scrub(%q)\n got %q\nwant %q", c.in, got, c.want)
		}
	}
	if got := Scrub(strings.Repeat("ä", 5000)); len(got) > maxText+len("…") || !utf8.ValidString(got) {
		t.Errorf("long text became %d bytes", len(got))
	}
}

func FuzzScrub(f *testing.F) {
	f.Add(`Get "https://u:hunter22@h/?sig=hunter22": Bearer hunter22`)
	f.Fuzz(func(t *testing.T, text string) {
		got := Scrub(text, Login{Username: "u", Password: "hunter22"})
		if strings.Contains(got, "hunter22") {
			t.Errorf("%q became %q", text, got)
		}
		if !utf8.ValidString(got) {
			t.Errorf("%q became invalid text", text)
		}
	})
}
