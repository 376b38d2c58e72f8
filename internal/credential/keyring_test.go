package credential

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSearchPaths(t *testing.T) {
	want := []string{"/var/lib/kubelet/config.json", "/cwd/config.json", "/root/.docker/config.json", "/.docker/config.json",
		"/var/lib/kubelet/.dockercfg", "/cwd/.dockercfg", "/root/.dockercfg", "/.dockercfg"}
	if got := SearchPaths("/var/lib/kubelet", "/cwd", "/root"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := SearchPaths("/r", "", ""); !slices.Equal(got, []string{"/r/config.json", "/.docker/config.json", "/r/.dockercfg", "/.dockercfg"}) {
		t.Errorf("without cwd and home: %q", got)
	}
}

func names(logins []Found) string {
	var all []string
	for _, l := range logins {
		all = append(all, l.Username)
	}
	return strings.Join(all, " ")
}

func config(t *testing.T, text string) Config {
	t.Helper()
	c, err := ParseConfigJSON([]byte(text), "test")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLookupOrder(t *testing.T) { // behaviour 159
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, path, `{"auths":{
		"reg.io":{"username":"node-host"},
		"reg.io/team/app":{"username":"node-app"},
		"*.io":{"username":"node-glob"},
		"reg.io/other":{"username":"node-other"},
		"docker.io":{"username":"node-hub"}}}`)
	k := NewKeyring(KeyringConfig{Paths: []string{path}})
	first := config(t, `{"auths":{"reg.io":{"username":"secret1-host"},"*.io":{"username":"secret1-glob"}}}`)
	second := config(t, `{"auths":{"reg.io/team":{"username":"secret2-team"},"reg.io":{"username":"secret2-host"},"*.io":{"username":"node-host"}}}`)
	for _, c := range []struct {
		image   string
		secrets []Config
		want    string
	}{
		{"reg.io/team/app:v1", nil, "node-app node-host node-glob"},
		{"reg.io/team/app:v1", []Config{first, second}, "secret2-team secret1-host secret2-host secret1-glob node-host node-app node-glob"},
		{"reg.io/x", []Config{second}, "secret2-host node-host node-glob"},
		{"nginx", nil, "node-hub node-glob"}, // *.io is docker.io too,
		{"quay.example.com/x", []Config{first, second}, ""},
	} {
		logins, err := k.Lookup(t.Context(), c.image, Asker{Secrets: c.secrets})
		if err != nil || names(logins) != c.want {
			t.Errorf("%s: %q, %v; want %q", c.image, names(logins), err, c.want)
		}
	}
	if _, err := k.Lookup(t.Context(), "Not An Image", Asker{}); err == nil {
		t.Error("a malformed image name was looked up")
	}
}

func TestLookupReadsChangedFiles(t *testing.T) { // behaviour 160
	dir := t.TempDir()
	upper, lower := filepath.Join(dir, "config.json"), filepath.Join(dir, ".dockercfg")
	var log bytes.Buffer
	k := NewKeyring(KeyringConfig{Paths: []string{upper, lower}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	expect := func(when, want, wrong string) {
		t.Helper()
		logins, err := k.Lookup(t.Context(), "reg.io/x", Asker{})
		if names(logins) != want || (err != nil) != (wrong != "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %q, %v; want %q, %q", when, names(logins), err, want, wrong)
		}
	}
	complaints := func(when string, want int) {
		t.Helper()
		if got := strings.Count(log.String(), "docker config file is broken"); got != want {
			t.Errorf("%s: %d complaints in the log, want %d:\n%s", when, got, want, log.String())
		}
	}
	expect("no file", "", "")
	write(t, lower, `{"reg.io":{"username":"lower"}}`)
	expect("only the later file", "lower", "")
	write(t, upper, `{"auths":{"reg.io":{"username":"one"}}}`)
	expect("the earlier file appeared", "one", "")
	write(t, upper, `{"auths":{"reg.io":{"username":"two"}}}`)
	expect("written again, same size", "two", "")
	write(t, upper+".new", `{"auths":{"reg.io":{"username":"six"}}}`)
	if err := os.Rename(upper+".new", upper); err != nil {
		t.Fatal(err)
	}
	expect("replaced", "six", "")
	complaints("while all was well", 0)
	write(t, upper, `{"auths":{"reg.io":{"username":"s3cret`)
	expect("half written", "lower", upper+": is not JSON")
	expect("still half written", "lower", upper+": is not JSON")
	complaints("half written", 1)
	write(t, upper, `{"auths":{"reg.io":{"username":"ten"},"b.io":{"auth":"?"}}}`)
	expect("one login is bad", "ten", `auths["b.io"].auth: is not base64`)
	complaints("one login is bad", 2)
	if err := os.Remove(upper); err != nil {
		t.Fatal(err)
	}
	expect("removed", "lower", "")
	if err := os.Mkdir(upper, 0o700); err != nil {
		t.Fatal(err)
	}
	expect("a directory", "lower", upper+": is not a regular file")
	expect("a directory still", "lower", upper+": is not a regular file")
	complaints("a directory", 3)
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("the log shows contents: %s", log.String())
	}
}

func TestLookupRefusesHugeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, path, `{"auths":{}}`+strings.Repeat(" ", maxFile))
	if _, err := NewKeyring(KeyringConfig{Paths: []string{path}}).Lookup(context.Background(), "reg.io/x", Asker{}); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("error %v", err)
	}
}
