package metrics

import (
	"strings"
	"testing"
	"time"
)

func TestClaims(t *testing.T) {
	m := New(Config{})
	c := m.Claims(func() map[string]int { return map[string]int{"<any>": 2, "gpu.example.com": 1} })
	c.Done("PrepareResources", true, time.Second)
	c.Called("gpu.example.com", "NodePrepareResources", "DeadlineExceeded", 45*time.Second)
	all := exposed(t, m.Handler())
	for _, line := range []string{
		`dra_resource_claims_in_use{driver_name="<any>"} 2`,
		`dra_resource_claims_in_use{driver_name="gpu.example.com"} 1`,
		`dra_operations_duration_seconds_count{is_error="true",operation_name="PrepareResources"} 1`,
		`dra_grpc_operations_duration_seconds_count{driver_name="gpu.example.com",grpc_status_code="DeadlineExceeded",method_name="NodePrepareResources"} 1`,
	} {
		if !strings.Contains(all, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
}
