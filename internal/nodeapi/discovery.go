package nodeapi

import (
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func kindOf(k *kind) schema.GroupVersionKind {
	return schema.GroupVersionKind{Version: "v1", Kind: k.kind}
}

// resources is what clients learn of what there is.
func (a *API) resources() metav1.APIResourceList {
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: "v1"}
	for _, k := range a.world.kinds {
		verbs := metav1.Verbs{"get", "list", "watch"}
		if k.writable {
			verbs = append(verbs, "create", "update", "patch", "delete")
		}
		r := metav1.APIResource{Name: k.name, SingularName: k.singular, Namespaced: k.namespaced, Kind: k.kind, Verbs: verbs, ShortNames: k.short}
		if k.name == pods {
			r.Categories = []string{"all"}
		}
		list.APIResources = append(list.APIResources, r)
	}
	for part, kind := range map[string]string{"log": "Pod", "exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"} {
		verbs := metav1.Verbs{"get", "create"}
		if part == "log" {
			verbs = metav1.Verbs{"get"}
		}
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: "pods/" + part, Namespaced: true, Kind: kind, Verbs: verbs})
	}
	return list
}

// openAPI tells clients what they need of the schema before they write: that unknown fields are found here, so that they need not
// look for them themselves.
func (a *API) openAPI(w http.ResponseWriter, r *http.Request) {
	paths := map[string]any{}
	for _, k := range a.world.kinds {
		operation := map[string]any{
			"x-kubernetes-group-version-kind": map[string]string{"group": "", "version": "v1", "kind": k.kind},
			"parameters": []any{
				map[string]any{"name": "dryRun", "in": "query", "schema": map[string]any{"type": "string", "uniqueItems": true}},
				map[string]any{"name": "fieldValidation", "in": "query", "schema": map[string]any{"type": "string", "uniqueItems": true}},
			},
			"responses": map[string]any{"200": map[string]any{"description": "OK"}},
		}
		path := "/api/v1/" + k.name + "/{name}"
		if k.namespaced {
			path = "/api/v1/namespaces/{namespace}/" + k.name + "/{name}"
		}
		paths[path] = map[string]any{"patch": operation}
	}
	a.answer(w, http.StatusOK, map[string]any{
		"openapi": "3.0.0", "info": map[string]any{"title": "Bosun", "version": a.cfg.Version}, "paths": paths, "components": map[string]any{"schemas": map[string]any{}},
	})
}

// openAPIv2 is the schema in its old form, for clients that look for unknown fields themselves in what they know no better way for,
// such as lists: it has no objects, so that they leave that to this API.
func (a *API) openAPIv2(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.Header.Get("Accept"), "protobuf") {
		w.Header().Set("Content-Type", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
		_, _ = w.Write([]byte("\x0a\x032.0")) // field 1, the version of the form
		return
	}
	a.answer(w, http.StatusOK, map[string]any{"swagger": "2.0", "info": map[string]any{"title": "Bosun", "version": a.cfg.Version}, "paths": map[string]any{}})
}
