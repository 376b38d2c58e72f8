package credential

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program puts a shell script into a provider directory.
func program(t *testing.T, dir, name, body string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
}

const goodProvider = `
- name: one
  matchImages: ["*.reg.io", "reg.io:5000/team"]
  defaultCacheDuration: 12h
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  args: [get]
  env: [{name: REGION, value: north}]
`

func TestLoadProviders(t *testing.T) { // behaviour 162
	bin := t.TempDir()
	for _, name := range []string{"one", "two"} {
		program(t, bin, name, "exit 0")
	}
	write(t, filepath.Join(bin, "plain"), "not executable")
	for _, c := range []struct {
		name, providers string
		wrong           []string
	}{
		{"good", goodProvider, nil},
		{"none", "[]", []string{"providers: names none"}},
		{"everything missing", "\n- {}", []string{"providers[0].name: is required", "providers[0].apiVersion: is \"\"", "providers[0].matchImages: is required", "providers[0].defaultCacheDuration: is required"}},
		{"no program", strings.Replace(goodProvider, "name: one", "name: gone", 1), []string{"providers[0].name: the provider's program " + bin + "/gone does not exist"}},
		{"not executable", strings.Replace(goodProvider, "name: one", "name: plain", 1), []string{"cannot be executed"}},
		{"path", strings.Replace(goodProvider, "name: one", "name: ../one", 1), []string{`"../one" is not the name of a file in the provider directory`}},
		{"twice", goodProvider + goodProvider, []string{`providers[1].name: "one" is also the name of`}},
		{"bad values", strings.NewReplacer("12h", "-1s", "/v1", "/v9", "*.reg.io", "a:b").Replace(goodProvider),
			[]string{"defaultCacheDuration: is -1s", "apiVersion: is \"credentialprovider.kubelet.k8s.io/v9\"", "matchImages[0]: \"a:b\" has a port"}},
		{"unknown field", goodProvider + "  colour: red\n", []string{"unknown field"}},
		{"token attributes", goodProvider + "  tokenAttributes: {serviceAccountTokenAudience: reg.io, cacheType: Token, requireServiceAccount: true, requiredServiceAccountAnnotationKeys: [a]}\n", nil},
		{"bad token attributes", goodProvider + "  tokenAttributes: {cacheType: Never, requiredServiceAccountAnnotationKeys: [a], optionalServiceAccountAnnotationKeys: [a]}\n",
			[]string{"serviceAccountTokenAudience: is required", "cacheType: is \"Never\"", "requireServiceAccount: is required", "annotation key \"a\""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yaml")
			write(t, path, "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders: "+c.providers)
			ps, err := LoadProviders(path, bin)
			if (err == nil) != (c.wrong == nil) {
				t.Fatalf("error %v, want %q", err, c.wrong)
			}
			for _, w := range c.wrong {
				if !strings.Contains(err.Error(), w) || !strings.Contains(err.Error(), path) {
					t.Errorf("error %q, want it to name the file and contain %q", err, w)
				}
			}
			if err == nil && ps.Len() != 1 {
				t.Errorf("%d providers", ps.Len())
			}
		})
	}
}

func TestLoadProvidersFromDirectory(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	program(t, bin, "one", "exit 0")
	program(t, bin, "two", "exit 0")
	if _, err := LoadProviders(dir, bin); err == nil || !strings.Contains(err.Error(), "has no .json, .yaml or .yml file") {
		t.Errorf("empty directory: %v", err)
	}
	head := "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: CredentialProviderConfig\nproviders: "
	write(t, filepath.Join(dir, "b.yml"), head+goodProvider)
	write(t, filepath.Join(dir, "a.json"), `{"apiVersion":"kubelet.config.k8s.io/v1","kind":"CredentialProviderConfig","providers":[
		{"name":"two","matchImages":["reg.io"],"defaultCacheDuration":"0s","apiVersion":"credentialprovider.kubelet.k8s.io/v1alpha1"}]}`)
	write(t, filepath.Join(dir, "readme.txt"), "no configuration")
	ps, err := LoadProviders(dir, bin)
	if err != nil || ps.Len() != 2 || ps.all[0].name != "two" || ps.all[1].name != "one" {
		t.Fatalf("%+v, %v", ps, err)
	}
	if one := ps.all[1]; one.defaultCache != 12*time.Hour || one.env[0] != "REGION=north" || one.args[0] != "get" {
		t.Errorf("one: %+v", one)
	}
	write(t, filepath.Join(dir, "c.yaml"), head+goodProvider)
	if _, err := LoadProviders(dir, bin); err == nil || !strings.Contains(err.Error(), `c.yaml: providers[0].name: "one" is also the name of `+dir+`/b.yml: providers[0]`) {
		t.Errorf("same name in two files: %v", err)
	}
	write(t, filepath.Join(dir, "c.yaml"), "kind: Pod\n")
	if _, err := LoadProviders(dir, bin); err == nil || !strings.Contains(err.Error(), "must be kind CredentialProviderConfig") {
		t.Errorf("wrong kind: %v", err)
	}
	if _, err := LoadProviders(filepath.Join(dir, "gone"), bin); err == nil {
		t.Error("a missing configuration was read")
	}
}
