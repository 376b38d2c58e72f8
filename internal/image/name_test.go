package image

import (
	"errors"
	"strings"
	"testing"

	"github.com/bosun-project/bosun/internal/reason"
)

func TestNormalise(t *testing.T) { // behaviour 154
	digest := "@sha256:" + strings.Repeat("ab", 32)
	for in, want := range map[string]string{
		"nginx": "nginx:latest", "nginx:1.27": "nginx:1.27", "team/app": "team/app:latest",
		"reg.io:5000/app": "reg.io:5000/app:latest", "reg.io:5000/app:v1": "reg.io:5000/app:v1",
		"nginx" + digest: "nginx" + digest, "nginx:1" + digest: "nginx:1" + digest, "localhost/x": "localhost/x:latest",
		"": "", "Nginx": "", "nginx:": "", "nginx:v 1": "", "reg.io:port/app": "", "nginx@sha256:12": "", "-x": "", "a//b": "",
		strings.Repeat("ab", 32): "",
	} {
		got, err := Normalise(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Normalise(%q) = %q, %v; want %q", in, got, err, want)
		}
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Reason != reason.InvalidImageName || e.Image != in) {
			t.Errorf("Normalise(%q): error %#v", in, err)
		}
	}
	_, err := Normalise("Nginx")
	if want := `Failed to apply default image tag "Nginx": couldn't parse image name "Nginx": invalid reference format: repository name (library/Nginx) must be lowercase`; err.Error() != want {
		t.Errorf("text %q\nwant %q", err, want)
	}
}

func FuzzNormalise(f *testing.F) {
	f.Add("nginx")
	f.Add("reg.io:5000/a/b:v1@sha256:" + strings.Repeat("ab", 32))
	f.Fuzz(func(t *testing.T, in string) {
		got, err := Normalise(in)
		if err != nil {
			return
		}
		if again, err := Normalise(got); err != nil || again != got {
			t.Errorf("%q became %q, and that %q, %v", in, got, again, err)
		}
	})
}
