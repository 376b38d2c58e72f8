package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestMembership(t *testing.T) {
	m := New(Config{NodeName: "node"})
	served := false
	j := m.Join(MembershipConfig{
		ClientTTL: func() (time.Duration, bool) { return -5 * time.Second, true },
		ServerTTL: func() (time.Duration, bool) { return time.Minute, served },
		Mirrors:   func() int { return 3 },
		Events:    map[string]func() uint64{"sent": func() uint64 { return 7 }, "dropped": func() uint64 { return 0 }},
	})
	j.Request(Request{Method: "PATCH", Host: "10.0.0.1:6443", Code: "200", Took: 3 * time.Millisecond, Sent: 100})
	j.Request(Request{Method: "GET", Host: "10.0.0.1:6443", Code: "200", Sent: -1})
	j.Received(Request{Method: "GET", Host: "10.0.0.1:6443"}, 300)
	j.StatusTold(20 * time.Millisecond)
	j.RenewFailed()
	j.Rotated(2 * time.Hour)
	j.ServingRenewFailed()
	at := time.Now()
	j.Started(Startup{at, at.Add(20 * time.Second), at.Add(21 * time.Second), at.Add(22500 * time.Millisecond), at.Add(22 * time.Second)}) // a clock was set
	read := func() string {
		w := httptest.NewRecorder()
		m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	text := read()
	for _, want := range []string{
		`rest_client_requests_total{code="200",host="10.0.0.1:6443",method="PATCH"} 1`,
		`rest_client_request_duration_seconds_bucket{host="10.0.0.1:6443",verb="PATCH",le="0.005"} 1`,
		`kubelet_pod_status_sync_duration_seconds_bucket{le="0.05"} 1`,
		`kubelet_certificate_manager_client_expiration_renew_errors 1`,
		`kubelet_certificate_manager_server_rotation_seconds_bucket{le="14400"} 1`,
		`kubelet_certificate_manager_client_ttl_seconds -5`,
		`kubelet_node_startup_pre_kubelet_duration_seconds 20`,
		`kubelet_node_startup_pre_registration_duration_seconds 1`,
		`kubelet_node_startup_registration_duration_seconds 1.5`,
		`kubelet_node_startup_post_registration_duration_seconds 0`,
		`kubelet_node_startup_duration_seconds 22`,
		`kubelet_server_expiration_renew_errors 1`,
		`rest_client_response_size_bytes_bucket{host="10.0.0.1:6443",verb="GET",le="512"} 1`,
		`rest_client_request_size_bytes_bucket{host="10.0.0.1:6443",verb="PATCH",le="256"} 1`,
		`kubelet_mirror_pods 3`,
		`bosun_events_total{outcome="sent"} 7`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("missing %s", want)
		}
	}
	if strings.Contains(text, `rest_client_request_size_bytes_count{host="10.0.0.1:6443",verb="GET"}`) {
		t.Error("a size that is not known was counted")
	}
	if strings.Contains(text, "server_ttl_seconds ") {
		t.Error("a certificate that is not there has a lifetime")
	}
	served = true
	if !strings.Contains(read(), "kubelet_certificate_manager_server_ttl_seconds 60\n") {
		t.Error("the serving certificate has no lifetime")
	}
}
