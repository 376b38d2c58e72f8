package credential

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestParseConfigJSON(t *testing.T) { // behaviour 160
	for _, c := range []struct {
		name, in string
		want     []string // "registry user/password/identity/registry token"
		wrong    []string
	}{
		{name: "nothing in it", in: `{}`},
		{name: "no auths", in: `{"credsStore":"desktop","HttpHeaders":{"User-Agent":"x"}}`},
		{name: "null auths", in: `{"auths":null}`},
		{name: "auth", in: `{"auths":{"https://index.docker.io/v1/":{"auth":"` + b64("joe:s3cret") + `"}}}`,
			want: []string{"docker.io joe/s3cret//"}},
		{name: "auth without padding", in: `{"auths":{"a.io":{"auth":"` + strings.TrimRight(b64("joe:s3cret!"), "=") + `"}}}`,
			want: []string{"a.io joe/s3cret!//"}},
		{name: "auth for URLs", in: `{"auths":{"a.io":{"auth":"` + base64.URLEncoding.EncodeToString([]byte("joe:??>>~~")) + `"}}}`,
			want: []string{"a.io joe/??>>~~//"}},
		{name: "password with colons and zeros", in: `{"auths":{"a.io":{"auth":"` + b64("joe:a:b\x00\x00") + `"}}}`,
			want: []string{"a.io joe/a:b//"}},
		{name: "plain", in: `{"auths":{"a.io":{"username":"joe","password":"s3cret","email":"j@a.io"}}}`,
			want: []string{"a.io joe/s3cret//"}},
		{name: "auth outranks plain", in: `{"auths":{"a.io":{"username":"no","password":"no","auth":"` + b64("joe:s3cret") + `"}}}`,
			want: []string{"a.io joe/s3cret//"}},
		{name: "identity token", in: `{"auths":{"a.io":{"auth":"` + b64("<token>:") + `","identitytoken":"tok-1"}}}`,
			want: []string{"a.io //tok-1/"}},
		{name: "registry token", in: `{"auths":{"a.io":{"registrytoken":"tok-2"}}}`, want: []string{"a.io ///tok-2"}},
		{name: "left behind by a credential helper", in: `{"auths":{"a.io":{},"b.io":null}}`},
		{name: "sorted", in: `{"auths":{"b.io":{"username":"b"},"a.io":{"username":"a"}}}`, want: []string{"a.io a///", "b.io b///"}},
		{name: "not base64", in: `{"auths":{"a.io":{"auth":"s3cret???"},"b.io":{"username":"b"}}}`,
			want: []string{"b.io b///"}, wrong: []string{`f: auths["a.io"].auth: is not base64`}},
		{name: "no colon", in: `{"auths":{"a.io":{"auth":"` + b64("s3cret") + `"}}}`,
			wrong: []string{`f: auths["a.io"].auth: does not decode to username:password`}},
		{name: "wrong type", in: `{"auths":{"a.io":{"password":12345}}}`, wrong: []string{`f: auths["a.io"].password: is not a string`}},
		{name: "login is text", in: `{"auths":{"a.io":"s3cret"}}`, wrong: []string{`f: auths["a.io"]: must be a JSON object`}},
		{name: "bad registry", in: `{"auths":{"joe:s3cret@a.io:x":{"username":"a"}}}`,
			wrong: []string{`auths["[redacted]@a.io:x"]: the registry's name has a port that is not a number`}},
		{name: "auths is a list", in: `{"auths":["s3cret"]}`, wrong: []string{`f: auths: must be a JSON object`}},
		{name: "cut short", in: `{"auths":{"a.io":{"password":"s3cret`, wrong: []string{`f: is not JSON (at byte 36)`}},
		{name: "empty", in: " \n", wrong: []string{`f: is empty; it must be a JSON object`}},
		{name: "null", in: "null", wrong: []string{`f: must be a JSON object`}},
		{name: "not JSON at all", in: "s3cret", wrong: []string{`f: is not JSON (at byte 1)`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseConfigJSON([]byte(c.in), "f")
			check(t, got, err, c.want, c.wrong)
		})
	}
}

func TestParseDockercfg(t *testing.T) {
	got, err := ParseDockercfg([]byte(`{"a.io":{"auth":"`+b64("joe:s3cret")+`"},"https://b.io:80/v2/x":{"username":"b"}}`), "f")
	check(t, got, err, []string{"a.io joe/s3cret//", "b.io:80/x b///"}, nil)
	got, err = ParseDockercfg([]byte(`{"auths":{"a.io":{"username":"a"}}}`), "f")
	check(t, got, err, []string{"a.io a///"}, nil)
}

func TestFromSecret(t *testing.T) {
	secret := func(kind v1.SecretType, key, data string) *v1.Secret {
		return &v1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "pull"}, Type: kind, Data: map[string][]byte{key: []byte(data)}}
	}
	got, err := FromSecret(secret(v1.SecretTypeDockerConfigJson, ".dockerconfigjson", `{"auths":{"a.io":{"username":"a"}}}`))
	check(t, got, err, []string{"a.io a///"}, nil)
	got, err = FromSecret(secret(v1.SecretTypeDockercfg, ".dockercfg", `{"a.io":{"username":"a"}}`))
	check(t, got, err, []string{"a.io a///"}, nil)
	got, err = FromSecret(secret(v1.SecretTypeOpaque, "x", "s3cret"))
	check(t, got, err, nil, []string{`secret ns/pull: type is "Opaque"; a pull secret must be of type`})
	got, err = FromSecret(secret(v1.SecretTypeDockercfg, "x", "s3cret"))
	check(t, got, err, nil, []string{`secret ns/pull: has no key .dockercfg`})
	got, err = FromSecret(secret(v1.SecretTypeDockercfg, ".dockercfg", "s3cret"))
	check(t, got, err, nil, []string{`secret ns/pull key .dockercfg: is not JSON`})
}

func check(t *testing.T, got Config, err error, want, wrong []string) {
	t.Helper()
	var have []string
	for _, e := range got.entries {
		l := e.login
		have = append(have, fmt.Sprintf("%s %s/%s/%s/%s", e.pattern.text, l.Username, l.Password, l.IdentityToken, l.RegistryToken))
	}
	if !slices.Equal(have, want) {
		t.Errorf("logins %q, want %q", have, want)
	}
	if (err != nil) != (len(wrong) > 0) {
		t.Fatalf("error %v, want %q", err, wrong)
	}
	for _, w := range wrong {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q, want it to contain %q", err, w)
		}
	}
	if err != nil && strings.Contains(err.Error(), "s3cret") {
		t.Errorf("error shows contents: %v", err)
	}
	for _, shown := range []string{fmt.Sprint(got), fmt.Sprintf("%+v", got), fmt.Sprintf("%#v", got), fmt.Sprintf("%v", &got)} {
		if strings.Contains(shown, "s3cret") {
			t.Errorf("formatting shows a secret: %s", shown)
		}
	}
}

func FuzzParseConfigJSON(f *testing.F) {
	f.Add([]byte(`{"auths":{"a.io":{"auth":"am9lOnMzY3JldA=="}}}`))
	f.Add([]byte(`{"auths":{"a.io":{"username":"a","password":1}}}`))
	f.Add([]byte(`{"a.io":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, parse := range []func([]byte, string) (Config, error){ParseConfigJSON, ParseDockercfg} {
			c, err := parse(data, "f")
			if err != nil && !strings.HasPrefix(err.Error(), "f: ") {
				t.Errorf("error does not name the file: %v", err)
			}
			for _, e := range c.entries {
				if e.pattern.text == "" || e.login.Anonymous() {
					t.Errorf("empty entry %v", e)
				}
			}
		}
	})
}
