package nodeapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func fuzzOne(t *testing.T, method, path, kind string, body []byte) {
	at, err := url.Parse(path)
	if err != nil || !strings.HasPrefix(at.Path, "/") || at.Host != "" || at.Query().Has("watch") || !token(method) {
		return
	}
	b := newBench(t)
	b.static("web")
	if code, text := b.ask("POST", podsPath, jsonKind, strings.Replace(webPod, `"web"`, `"given"`, 1)); code != http.StatusCreated {
		t.Fatal(code, text)
	}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", bytes.NewReader(body))
	r.Method, r.URL = method, at
	r.Header.Set("Content-Type", kind)
	w := httptest.NewRecorder()
	b.api.Handler().ServeHTTP(w, r)
	if w.Code < 200 || w.Code > 599 {
		t.Fatalf("code %d", w.Code)
	}
	if strings.HasPrefix(at.Path, "/api/v1/") && w.Code != http.StatusMovedPermanently && w.Code != http.StatusTemporaryRedirect && !json.Valid(w.Body.Bytes()) {
		t.Fatalf("%d: %q is no JSON", w.Code, w.Body)
	}
	if w.Code == http.StatusInternalServerError {
		t.Fatalf("%s", w.Body)
	}
	held, _ := b.store.Content()
	for key, o := range held { // whatever is kept can be read again
		if _, err := json.Marshal(o); err != nil || key.Name == "" || o.GetUID() == "" {
			t.Fatalf("%v: %v", key, err)
		}
	}
}

// token tells whether a method can be sent at all.
func token(method string) bool {
	for _, r := range method {
		if r <= ' ' || r >= 0x7f {
			return false
		}
	}
	return method != ""
}
