package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever a file holds, Load gives a configuration or says what is wrong; both files get the same bytes.
func FuzzLoadFile(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "testdata/*.json", "testdata/*/*.conf"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatal(pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
	for _, s := range []string{"", "a", "{}", "[1]", "kind: Pod", "null", "{\"maxPods\":1e400}", head + "maxPods: 99999999999999999999", head + "memoryThrottlingFactor: .nan",
		head + "featureGates: {a: null}", head + "tracing: null\nuserNamespaces: {idsPerPod: null}", head + "staticPodURLHeader: {a: null}", "? {a: b}\n: c", "&a [*a]", head + "1: 2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data string) {
		c, err := Load([]string{"--config=/k", "--config-dir=/d"}, Env{Files: files{"/k": data, "/d/a.conf": data}})
		if _, ok := errors.AsType[Problems](err); err != nil && !ok {
			t.Fatalf("error of type %T", err)
		}
		Unsupported(c)
		c.FlagValues()
	})
}

// The same for the command line.
func FuzzLoadArgs(f *testing.F) {
	f.Add("--allow-privileged=true\n--config=/etc/kubernetes/manifests\n--hostname-override=x")
	f.Add("--register-with-taints=a=b:c\n--reserved-memory=0:memory=1\n--vmodule=[=1\n-v\n-\n--\n--=\n-=")
	for _, fl := range flagTable() {
		f.Add("--" + fl.name + "=1,=<:;\n--" + fl.name)
	}
	f.Fuzz(func(t *testing.T, args string) {
		c, _ := Load(strings.Split(args, "\n"), Env{Files: files{}, WorkDir: "/w"})
		Unsupported(c)
	})
}
