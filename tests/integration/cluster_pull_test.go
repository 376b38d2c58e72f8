package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	certificates "k8s.io/api/certificates/v1"
	v1 "k8s.io/api/core/v1"
	nodeapi "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A private image is pulled with the pod's own login, which may come after the pod.
func TestPullSecrets(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	var refused atomic.Int32
	registry := m.bed.StartRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "jane" || password != "open" {
				refused.Add(1)
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				http.Error(w, "who are you", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	ref, err := registry.Push("testbox", "team/private", "v1")
	if err != nil {
		t.Fatal(err)
	}
	pod := "spec: {imagePullSecrets: [{name: registry}], containers: [{name: main, imagePullPolicy: Always, args: [wait], image: '" + ref + "'}]}"
	g := m.create(t, ns, "private", pod)
	p := g.until("refused by the registry", func(p *v1.Pod) bool {
		return waitsFor("main", "ErrImagePull")(p) || waitsFor("main", "ImagePullBackOff")(p)
	})
	if s := apiStatus(p, "main").State.Waiting.Message; strings.Contains(s, "open") {
		t.Errorf("the status tells %q", s)
	}
	eventually(t, func() error {
		return containsAll(m.kubectl(t, ns, "get", "events", "-o", "jsonpath={range .items[*]}{.reason}: {.message}\n{end}"),
			"FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets (registry); attempting to pull the image may not succeed.",
			"Pulling: Pulling image", "Failed: Failed to pull image")
	})
	login, err := json.Marshal(map[string]any{"auths": map[string]any{registry.Host: map[string]string{"username": "jane", "password": "open"}}})
	if err != nil {
		t.Fatal(err)
	}
	object := &v1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "registry"}, Type: v1.SecretTypeDockerConfigJson, Data: map[string][]byte{v1.DockerConfigJsonKey: login}}
	if _, err := m.api.CoreV1().Secrets(ns).Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	g.untilReady()
	t.Logf("ready %v after the login is there; %d requests without it", time.Since(began), refused.Load())
}

// A RuntimeClass says which handler of the runtime runs the pod; one that the runtime does not know is told of.
func TestRuntimeClasses(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	for _, c := range []nodeapi.RuntimeClass{
		{ObjectMeta: metav1.ObjectMeta{Name: ns + "-plain"}, Handler: "runc"}, {ObjectMeta: metav1.ObjectMeta{Name: ns + "-odd"}, Handler: "odd"},
	} {
		if _, err := m.api.NodeV1().RuntimeClasses().Create(t.Context(), &c, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = m.api.NodeV1().RuntimeClasses().Delete(context.Background(), c.Name, metav1.DeleteOptions{}) // it does no harm
		})
	}
	eventually(t, func() error { // the admission of the API server hears of classes a moment later
		_, err := m.plane.Kubectl(t.Context(), "-n", ns, "run", "try", "--image=none", "--dry-run=server", "--overrides={\"spec\":{\"runtimeClassName\":\""+ns+"-odd\"}}")
		return err
	})
	g := m.create(t, ns, "plain", "spec: {runtimeClassName: "+ns+"-plain, containers: [{name: main, image: BOX}]}")
	g.untilReady()
	sandboxes, err := m.sandboxesOf("plain")
	if err != nil || len(sandboxes) != 1 || sandboxes[0].RuntimeHandler != "runc" {
		t.Errorf("sandboxes %v (%v), want one of the handler runc", sandboxes, err)
	}
	m.create(t, ns, "odd", "spec: {runtimeClassName: "+ns+"-odd, containers: [{name: main, image: BOX}]}")
	eventually(t, func() error {
		return containsAll(m.kubectl(t, ns, "get", "events", "-o", "jsonpath={range .items[*]}{.involvedObject.name} {.reason}: {.message}\n{end}"),
			"odd FailedCreatePodSandBox: Failed to create pod sandbox: ", `"odd"`)
	})
}

// newAuthority is the certificate of a new authority, as PEM.
func newAuthority(t *testing.T, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// Trust bundles are files of a projected volume, which follow them; by name, and by signer and labels.
func TestTrustBundlesAreProjected(t *testing.T) {
	t.Parallel()
	m := sharedMember(t)
	ns := m.plane.Namespace(t)
	bundles := m.api.CertificatesV1().ClusterTrustBundles()
	make := func(name, signer, text string) *certificates.ClusterTrustBundle {
		t.Helper()
		b := &certificates.ClusterTrustBundle{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"for": ns}}, Spec: certificates.ClusterTrustBundleSpec{SignerName: signer, TrustBundle: text}}
		made, err := bundles.Create(t.Context(), b, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = bundles.Delete(context.Background(), name, metav1.DeleteOptions{}) }) // it does no harm
		return made
	}
	one, other := newAuthority(t, "one"), newAuthority(t, "other")
	named := make(ns+"-named", "", one)
	signer := "example.com/" + ns
	make("example.com:"+ns+":signed", signer, other)
	g := m.create(t, ns, "trusting", `
spec:
  volumes: [{name: p, projected: {sources: [{clusterTrustBundle: {name: `+ns+`-named, path: named.pem}},
    {clusterTrustBundle: {signerName: `+signer+`, labelSelector: {matchLabels: {for: `+ns+`}}, path: signed.pem}},
    {clusterTrustBundle: {name: nowhere, path: maybe.pem, optional: true}}]}}]
  containers: [{name: main, image: BOX, volumeMounts: [{name: p, mountPath: /p}]}]
`)
	g.untilReady()
	untilHolds(t, g.volume("projected", "p", "named.pem"), one)
	untilHolds(t, g.volume("projected", "p", "signed.pem"), other)
	named.Spec.TrustBundle = other
	if _, err := bundles.Update(t.Context(), named, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("a new trust bundle is in the volume after %v", soon(t, g.volume("projected", "p", "named.pem"), other))
}
