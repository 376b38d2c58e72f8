package serve

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/bosun-project/bosun/internal/metrics"
)

// TestWebSocketsAreCounted: streams that come as WebSockets are, others are not.
func TestWebSocketsAreCounted(t *testing.T) {
	numbers := metrics.New(metrics.Config{})
	f := New(Config{Numbers: numbers})
	plain := httptest.NewRequest(http.MethodPost, "/exec/default/a/app", nil)
	f.tell(plain, "exec")
	upgraded := httptest.NewRequest(http.MethodGet, "/portForward/default/a", nil)
	upgraded.Header.Set("Connection", "Upgrade")
	upgraded.Header.Set("Upgrade", "websocket")
	f.tell(upgraded, "port-forward")
	w := httptest.NewRecorder()
	numbers.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if text := w.Body.String(); !strings.Contains(text, "kubelet_websocket_streaming_requests_total{subresource=\"portforward\"} 1\n") || strings.Contains(text, `subresource="exec"`) {
		t.Errorf("counted:\n%s", text)
	}
}
