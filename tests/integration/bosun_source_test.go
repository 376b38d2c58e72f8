package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/bosun-project/bosun/internal/testbed"
)

// Several documents, lists and JSON are manifests, too (issue: sources).
func TestManifestForms(t *testing.T) {
	t.Parallel()
	n := sharedNode(t)
	const pod = `{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}}`
	for form, text := range map[string]string{
		"documents": fmt.Sprintf("---\n"+pod+"\n---\n"+pod+"\n---\n", "documents", "documents-2"),
		"podlist":   fmt.Sprintf("apiVersion: v1\nkind: PodList\nitems: ["+pod+", "+pod+"]\n", "podlist", "podlist-2"),
		"list":      fmt.Sprintf("apiVersion: v1\nkind: List\nitems: ["+pod+", "+pod+"]\n", "list", "list-2"),
		"json": `{"apiVersion": "v1", "kind": "List", "items": [
			{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "json"}, "spec": {"containers": [{"name": "main", "image": "` + testbed.Testbox + `", "imagePullPolicy": "IfNotPresent"}]}},
			{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "json-2"}, "spec": {"containers": [{"name": "main", "image": "` + testbed.Testbox + `", "imagePullPolicy": "IfNotPresent"}]}}]}`,
	} {
		t.Run(form, func(t *testing.T) {
			t.Parallel()
			one := n.manifest(t, form, text)
			two := &box{node: n, t: t, name: form + "-2"}
			one.untilRunning("main")
			two.untilRunning("main")
			one.remove()
			one.awaitGone()
			two.awaitGone()
		})
	}
}

// A URL gives pods; while it fails they stay; an empty answer ends them (behaviour 3).
func TestManifestURL(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	code, body := http.StatusOK, ""
	answer := func(c int, b string) {
		mu.Lock()
		defer mu.Unlock()
		code, body = c, b
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("Metadata-Flavor") != "test" {
			http.Error(w, "a header is missing", http.StatusForbidden)
			return
		}
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	n := ownNode(t, testbed.Options{}, "--manifest-url="+server.URL, "--manifest-url-header=Metadata-Flavor:test", "--http-check-frequency=500ms")
	pod := func(name string) string {
		return "{apiVersion: v1, kind: Pod, metadata: {name: " + name + "}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, " + expand.Replace("image: BOX") + "}]}}"
	}
	one, two := &box{node: n, t: t, name: "web-one"}, &box{node: n, t: t, name: "web-two"}
	file := n.pod(t, "from-file", "spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: BOX}]}")
	answer(http.StatusOK, "apiVersion: v1\nkind: PodList\nitems: ["+pod("web-one")+", "+pod("web-two")+"]\n")
	first := one.untilRunning("main")
	two.untilRunning("main")
	file.untilRunning("main")
	answer(http.StatusInternalServerError, "no manifests today")
	n.untilLogged(t, server.URL, "500")
	answer(http.StatusOK, pod("web-one"))
	two.awaitGone()
	same(t, "container", one.untilRunning("main").Id, first.Id)
	same(t, "state", one.untilRunning("main").State, runtimeapi.ContainerState_CONTAINER_RUNNING)
	answer(http.StatusOK, "")
	one.awaitGone()
	file.untilRunning("main")
}
