package access

import (
	"net/http"
	"strings"
)

// verbs are those of the API, by HTTP method. Other methods have none.
var verbs = map[string]string{
	http.MethodPost: "create", http.MethodGet: "get", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete",
}

// paths says which subresource of the node a path is about: the path itself and all beneath it. Where there are two,
// being allowed one is enough; they are asked in this order. Other paths are about proxy.
var paths = []struct {
	path         string
	subresources []string
}{
	{"/stats", []string{"stats"}},
	{"/metrics", []string{"metrics"}},
	{"/logs", []string{"log"}},
	{"/checkpoint", []string{"checkpoint"}},
	{"/statusz", []string{"statusz"}},
	{"/flagz", []string{"configz"}},
	{"/pods", []string{"pods", proxy}},
	{"/allocatedPods", []string{"pods", proxy}},
	{"/runningpods", []string{"pods", proxy}},
	{"/healthz", []string{"healthz", proxy}},
	{"/configz", []string{"configz", proxy}},
}

// proxy is the subresource that stands for everything that is not named.
const proxy = "proxy"

// subresources returns those that a path is about.
func subresources(path string) []string {
	for _, p := range paths {
		if rest, ok := strings.CutPrefix(path, p.path); ok && (rest == "" || rest[0] == '/') {
			return p.subresources
		}
	}
	return []string{proxy}
}
