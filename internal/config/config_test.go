package config

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// files is a file system of path → content; a path that is the beginning of others is a directory.
type files map[string]string

func (f files) IsDir(path string) (bool, error) {
	if _, ok := f[path]; ok {
		return false, nil
	}
	for name := range f {
		if strings.HasPrefix(name, strings.TrimSuffix(path, "/")+"/") {
			return true, nil
		}
	}
	return false, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist}
}

func (f files) Read(path string) ([]byte, error) {
	data, ok := f[path]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return []byte(data), nil
}

func (f files) Walk(dir string) (found []string, err error) {
	for name := range f {
		if strings.HasPrefix(name, dir+"/") {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found, nil
}

const head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

// load runs Load and stops the test on an error.
func load(t *testing.T, f files, args ...string) *Config {
	t.Helper()
	c, err := Load(args, Env{Files: f, WorkDir: "/work"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// loadYAML loads one config file with this body, under the usual two lines.
func loadYAML(body string, args ...string) (*Config, error) {
	return Load(append([]string{"--config=/etc/kubelet.yaml"}, args...), Env{Files: files{"/etc/kubelet.yaml": head + body}})
}

// wantProblems fails unless err is a Problems whose lines contain the wanted texts, one each and in this order.
func wantProblems(t *testing.T, err error, want ...string) {
	t.Helper()
	ps, ok := errors.AsType[Problems](err)
	if len(want) == 0 && err == nil {
		return
	}
	if !ok {
		t.Fatalf("got error %v, want problems %q", err, want)
	}
	if len(ps) != len(want) {
		t.Fatalf("got %d problems, want %d:\n%v", len(ps), len(want), err)
	}
	for i, p := range ps {
		if !strings.Contains(p.String(), want[i]) {
			t.Errorf("problem %d is %q, want one with %q", i, p, want[i])
		}
	}
}

func TestGatesOfAConfig(t *testing.T) {
	c, err := loadYAML("featureGates: {MemoryQoS: false, ContainerStopSignals: true}\n")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]GateValue{
		"MemoryQoS": {"MemoryQoS", "BETA", false}, "ContainerStopSignals": {"ContainerStopSignals", "ALPHA", true},
		"NodeSwap": {"NodeSwap", "", true}, "AllowDNSOnlyNodeCSR": {"AllowDNSOnlyNodeCSR", "DEPRECATED", false},
	}
	found := 0
	for _, g := range c.Gates() {
		if w, ok := want[g.Name]; ok {
			found++
			if g != w {
				t.Errorf("%+v, want %+v", g, w)
			}
		}
	}
	if found != len(want) {
		t.Errorf("found %d of %d", found, len(want))
	}
}
