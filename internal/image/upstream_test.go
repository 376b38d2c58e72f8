package image

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/credential"
)

// What an upstream kubelet has noted is believed: who has pulled what, and what was being pulled (behaviour 344).
func TestUpstreamRecords(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"pulling/sha256-1": `{"kind":"ImagePullIntent","apiVersion":"kubelet.config.k8s.io/v1alpha1","image":"reg.io/torn"}`,
		"pulling/sha256-2": `{"image":"Not An Image"}`,
		"pulled/sha256-1": `{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1beta1","lastUpdatedTime":"2026-01-02T03:04:05Z","imageRef":"sha256:1",
			"credentialMapping":{"reg.io/team/app":{"kubernetesSecrets":[{"uid":"uid-of-jane","namespace":"shop","name":"jane","credentialHash":"theirs"}]},
			"nginx":{"nodePodsAccessible":true},"reg.io/given":{"kubernetesServiceAccounts":[{"uid":"1","namespace":"shop","name":"web"}]}}}`,
		"pulled/sha256-2": `{"imageRef":"sha256:2"}`,
		"pulled/sha256-3": `{"imageRef":""}`,
		"pulled/sha256-4": `no JSON`,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := Upstream(dir)
	if err == nil || strings.Count(err.Error(), "\n") != 2 || len(kept) != 3 {
		t.Errorf("kept %d: %v", len(kept), err)
	}
	synctest.Test(t, func(t *testing.T) {
		f := &fake{pull: private("jane")}
		f.keep(&runtimeapi.Image{Id: "sha256:1", RepoTags: []string{app, "docker.io/library/nginx:1", "reg.io/given:1"}}, app, "nginx:1", "reg.io/given:1")
		f.keep(&runtimeapi.Image{Id: "sha256:2", RepoTags: []string{"reg.io/unknown:1"}}, "reg.io/unknown:1")
		f.keep(&runtimeapi.Image{Id: "sha256:3", RepoTags: []string{"reg.io/torn:latest"}}, "reg.io/torn:latest")
		f.keep(&runtimeapi.Image{Id: "sha256:4", RepoTags: []string{"reg.io/preloaded:1"}}, "reg.io/preloaded:1")
		p := New(Config{Service: f, Keyring: keyring{}, Records: NewRecords(&book{}, kept, nil, slog.New(slog.DiscardHandler)), Verify: NeverVerifyPreloadedImages})
		robot := credential.Asker{Identity: account{Owner: credential.Owner{UID: "1", Namespace: "shop", Name: "web"}}}
		for _, c := range []struct {
			image string
			by    credential.Asker
			want  string
		}{
			{app, secret("jane"), "present"}, {app, nobody, "ErrImageNeverPull"}, {"nginx:1", nobody, "present"},
			{"reg.io/given:1", robot, "present"}, {"reg.io/given:1", nobody, "ErrImageNeverPull"},
			{"reg.io/unknown:1", nobody, "ErrImageNeverPull"}, {"reg.io/torn", nobody, "ErrImageNeverPull"}, {"reg.io/preloaded:1", nobody, "present"},
		} {
			if got := ask(t, p, c.by, v1.PullNever, c.image); got != c.want {
				t.Errorf("%s: %s, want %s", c.image, got, c.want)
			}
		}
	})
	if kept, err := Upstream(filepath.Join(dir, "nowhere")); err != nil || len(kept) != 0 {
		t.Errorf("%v, %v", kept, err)
	}
}
