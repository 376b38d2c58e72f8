package volume

import (
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestMountedWith(t *testing.T) {
	for options, want := range map[string]string{
		"":   "",
		"rw": "",
		`rw,context="system_u:object_r:container_file_t:s0:c1,c2",size=1`: "system_u:object_r:container_file_t:s0:c1,c2",
		"context=a:b:c:d":                     "a:b:c:d",
		"rw,context=a:b:c:d,ro":               "a:b:c:d",
		"rw,seclabel":                         "",
		"fscontext=a:b:c:d":                   "",
		"rw,rootcontext=x:y:z:s0,context=a:b": "a:b",
		`context="open`:                       "open",
	} {
		if got := mountedWith(options); got != want {
			t.Errorf("%s: %q, want %q", options, got, want)
		}
	}
	for file, want := range map[string]string{"": "system_u:object_r:container_file_t:s0:c1", "a:b:c:s0-s3:c9": "a:b:c:s0:c1"} {
		if got := (&SELinux{File: file}).label(&v1.SELinuxOptions{Level: "s0:c1"}); got != want {
			t.Errorf("%q: %s, want %s", file, got, want)
		}
	}
}
