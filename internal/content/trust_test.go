package content_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	certificates "k8s.io/api/certificates/v1"

	"github.com/bosun-project/bosun/internal/content"
	"github.com/bosun-project/bosun/internal/environ"
)

// anchor is a PEM block; what is in it does not matter here.
func anchor(data string) string {
	return "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString([]byte(data)) + "\n-----END CERTIFICATE-----\n"
}

func bundle(name, signer, label, text string) *certificates.ClusterTrustBundle {
	b := &certificates.ClusterTrustBundle{Spec: certificates.ClusterTrustBundleSpec{SignerName: signer, TrustBundle: text}}
	b.Name, b.Labels = name, map[string]string{"v": label}
	return b
}

// Behaviour 182.
func TestTrustBundles(t *testing.T) {
	known := []*certificates.ClusterTrustBundle{
		bundle("x/y:1", "x/y", "live", "a comment\n"+anchor("two")+anchor("one")),
		bundle("x/y:2", "x/y", "live", anchor("three")+anchor("two")),
		bundle("x/y:3", "x/y", "old", anchor("four")),
		bundle("own", "", "live", anchor("five")),
		bundle("broken", "", "", "-----BEGIN PRIVATE KEY-----\naHVzaA==\n-----END PRIVATE KEY-----\n"),
	}
	for _, c := range []struct{ name, source, want, fails string }{
		{"by name", "name: own", anchor("five"), ""},
		{"by signer and label", "signerName: x/y, labelSelector: {matchLabels: {v: live}}", anchor("one") + anchor("three") + anchor("two"), ""},
		{"everything of a signer", "signerName: x/y, labelSelector: {}", anchor("four") + anchor("one") + anchor("three") + anchor("two"), ""},
		{"no selector is nothing", "signerName: x/y", "", `no ClusterTrustBundle of signer "x/y" matches the label selector`},
		{"no such name", "name: gone", "", `clustertrustbundle.certificates.k8s.io "gone" not found`},
		{"optional", "name: gone, optional: true", "", ""},
		{"optional signer", "signerName: z, optional: true", "", ""},
		{"bad selector", "signerName: x/y, labelSelector: {matchExpressions: [{key: v, operator: Like}]}", "", `spec.volumes[0].projected.sources[0].clusterTrustBundle: labelSelector:`},
		{"not a certificate", "name: broken", "", `spec.volumes[0].projected.sources[0].clusterTrustBundle: ClusterTrustBundle "broken" holds a PEM block "PRIVATE KEY"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := podOf(t, "[{name: v, projected: {sources: [{clusterTrustBundle: {path: ca.pem, "+c.source+"}}]}}]")
			files, err := content.Of(p, &p.Spec.Volumes[0], content.Facts{TrustBundles: known})
			if c.fails != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.fails) || strings.Contains(err.Error(), "aHVzaA") {
					t.Errorf("error %v, want %s", err, c.fails)
				}
				var lacks *environ.Missing
				if errors.As(err, &lacks) != !strings.HasPrefix(c.fails, "spec") {
					t.Errorf("%v: is Missing: %v", err, lacks != nil)
				}
				return
			}
			f, there := files["ca.pem"]
			if err != nil || !there || f.Mode != 0o644 || string(f.Data) != c.want {
				t.Errorf("%v, %q, want %q", err, f.Data, c.want)
			}
		})
	}
}
