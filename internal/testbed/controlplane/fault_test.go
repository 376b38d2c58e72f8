package controlplane

import (
	"net/http/httptest"
	"regexp"
	"testing"
)

func TestKindsOfRequests(t *testing.T) {
	for target, want := range map[string][]Kind{
		"GET /api/v1/pods":                                    {Lists, Reads},
		"GET /api/v1/pods?watch=true":                         {Watches, Reads},
		"GET /api/v1/namespaces/n/pods?watch=1":               {Watches, Reads},
		"GET /api/v1/namespaces/n/pods":                       {Lists, Reads},
		"GET /api/v1/namespaces/n":                            {Reads},
		"GET /api/v1/namespaces/n/pods/p":                     {Reads},
		"GET /api/v1/namespaces/n/pods/p/status":              {Reads},
		"GET /apis/coordination.k8s.io/v1/leases":             {Lists, Reads},
		"GET /apis/a/v1/namespaces/n/leases":                  {Lists, Reads},
		"GET /apis/a/v1/namespaces/n/leases/l":                {Reads},
		"GET /apis":                                           {Reads},
		"GET /readyz":                                         {Reads},
		"PATCH /api/v1/namespaces/n/pods/p/status":            {Writes},
		"POST /api/v1/namespaces/n/serviceaccounts/s/token":   {Writes},
		"DELETE /api/v1/namespaces/n/pods/p":                  {Writes},
		"POST /api/v1/namespaces/n/events?fieldManager=bosun": {Writes},
	} {
		var method, path string
		if m := regexp.MustCompile(`^(\w+) (.*)$`).FindStringSubmatch(target); m != nil {
			method, path = m[1], m[2]
		}
		r := httptest.NewRequest(method, path, nil)
		var got []Kind
		for _, k := range []Kind{Watches, Lists, Writes, Reads} {
			if k.has(r) {
				got = append(got, k)
			}
		}
		if !Any.has(r) || !equal(got, want) {
			t.Errorf("%s is %v, want %v", target, got, want)
		}
	}
}

func equal(a, b []Kind) bool {
	set := map[Kind]int{}
	for _, k := range a {
		set[k]++
	}
	for _, k := range b {
		set[k]--
	}
	for _, n := range set {
		if n != 0 {
			return false
		}
	}
	return true
}

func TestFaultsAreCounted(t *testing.T) {
	x := &Proxy{changed: make(chan struct{})}
	x.Inject(Fault{Method: "PATCH", Path: "/status$", User: "system:node:a", Times: 2, Status: 500})
	remove := x.Inject(Fault{Path: "^/api/", Status: 503})
	status := func(method, path, user string) int {
		f := x.happening(httptest.NewRequest(method, path, nil), user)
		if f == nil {
			return 0
		}
		return f.Status
	}
	const path, node = "/api/v1/namespaces/n/pods/p/status", "system:node:a"
	for i, step := range []struct {
		method, path, user string
		want               int
	}{
		{"PATCH", path, node, 500},
		{"PATCH", path, "system:node:b", 503},
		{"GET", path, node, 503},
		{"PATCH", path, node, 500},
		{"PATCH", path, node, 503}, // the first has happened twice
		{"GET", "/readyz", node, 0},
	} {
		if got := status(step.method, step.path, step.user); got != step.want {
			t.Errorf("request %d: %d, want %d", i, got, step.want)
		}
	}
	remove()
	remove()
	if got := status("GET", path, node); got != 0 {
		t.Errorf("a removed fault happened: %d", got)
	}
}
