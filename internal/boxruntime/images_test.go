package boxruntime

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tarOf makes an archive of the given files, in order: name, text, name, text.
func tarOf(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		err := errors.Join(w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}))
		if err == nil {
			_, err = w.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadArchive(t *testing.T) {
	docker := `[{"Config":"c","RepoTags":["nginx:1.27","quay.io/x/y:2"]},{"RepoTags":null}]`
	oci := `{"manifests":[{"annotations":{"io.containerd.image.name":"registry.k8s.io/pause:3.10.2","org.opencontainers.image.ref.name":"3.10.2"}},
		{"annotations":{"org.opencontainers.image.ref.name":"busybox:1"}},{"annotations":{"org.opencontainers.image.ref.name":"latest"}},{}]}`
	for name, test := range map[string]struct {
		data  []byte
		want  contents
		fails string
	}{
		"docker":        {data: tarOf(t, "layer", "xx", "manifest.json", docker), want: contents{names: []string{"docker.io/library/nginx:1.27", "quay.io/x/y:2"}}},
		"docker, gzip":  {data: gzipped(t, tarOf(t, "manifest.json", docker)), want: contents{names: []string{"docker.io/library/nginx:1.27", "quay.io/x/y:2"}}},
		"oci":           {data: tarOf(t, "./index.json", oci), want: contents{names: []string{"registry.k8s.io/pause:3.10.2", "docker.io/library/busybox:1"}, tags: []string{"latest"}}},
		"both":          {data: tarOf(t, "index.json", `{"manifests":[]}`, "manifest.json", docker)},
		"no tar":        {data: []byte("hello"), fails: "tar"},
		"other tar":     {data: tarOf(t, "a", "b"), fails: "docker save"},
		"bad json":      {data: tarOf(t, "manifest.json", "{"), fails: "manifest.json"},
		"bad name":      {data: tarOf(t, "manifest.json", `[{"RepoTags":["UPPER:1"]}]`), fails: `"UPPER:1"`},
		"bad gzip":      {data: []byte{0x1f, 0x8b, 1}, fails: "unzip"},
		"huge contents": {data: tarOf(t, "index.json", strings.Repeat(" ", maxIndex+1)), fails: "larger"},
		"truncated tar": {data: tarOf(t, "layer", strings.Repeat("x", 4096))[:1000], fails: "tar"},
	} {
		got, err := readArchive(bytes.NewReader(test.data))
		if test.fails != "" {
			if err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%s: %+v, %v; want an error with %q", name, got, err, test.fails)
			}
			continue
		}
		if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(contents{})); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
}

func FuzzReadArchive(f *testing.F) {
	f.Add(tarOf(f, "manifest.json", `[{"RepoTags":["nginx:1"]}]`))
	f.Add(tarOf(f, "index.json", `{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"a/b:c"}}]}`))
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := readArchive(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, name := range c.names {
			if full, err := fullName(name); err != nil || full != name {
				t.Errorf("name %q is not complete: %q, %v", name, full, err)
			}
		}
	})
}

func TestNameByFile(t *testing.T) {
	base, names, err := nameByFile("/x/Nginx.tar.gz", []string{"1.27", "latest"})
	if err != nil || base != "docker.io/library/nginx" || !cmp.Equal(names, []string{"docker.io/library/nginx:1.27", "docker.io/library/nginx:latest"}) {
		t.Errorf("got %q, %q, %v", base, names, err)
	}
	if _, _, err := nameByFile("/x/nginx.tar", nil); err == nil || !strings.Contains(err.Error(), "docker save") {
		t.Errorf("an archive without tags gave %v", err)
	}
	if _, _, err := nameByFile("/x/_.tar", []string{"1"}); err == nil {
		t.Error("a file name that is no image name was taken")
	}
}

func TestStampsAndArchives(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.tar", "a.tgz", ".hidden.tar", "c.txt", "d.tar.gz"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files, err := archives(dir)
	if want := []string{dir + "/a.tgz", dir + "/b.tar", dir + "/d.tar.gz"}; err != nil || !cmp.Equal(files, want) {
		t.Errorf("archives are %q, %v; want %q", files, err, want)
	}
	record := filepath.Join(dir, "images.json")
	l := &loading{Loader: Loader{Record: record}, record: map[string]stamp{
		files[0]: {Size: 1, Names: []string{"a"}}, dir + "/gone.tar": {Size: 2},
	}}
	if err := l.save(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]stamp{files[0]: {Size: 1, Names: []string{"a"}}}, readStamps(record)); diff != "" {
		t.Errorf("the record, without what is gone: %s", diff)
	}
	for _, bad := range []string{"", "null", "[1]"} {
		if err := os.WriteFile(record, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readStamps(record); got == nil || len(got) != 0 {
			t.Errorf("a damaged record %q gave %v", bad, got)
		}
	}
}
