package controlplane

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const auditLines = `{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete","requestURI":"/api/v1/nodes/here","verb":"get","user":{"username":"system:node:here","groups":["system:nodes","system:authenticated"]},"sourceIPs":["127.0.0.1"],"userAgent":"bosun","objectRef":{"resource":"nodes","name":"here","apiVersion":"v1"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-11-21T02:40:49.100000Z","stageTimestamp":"2026-11-21T02:40:49.200000Z","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":""}}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"b","stage":"ResponseComplete","requestURI":"/api/v1/secrets","verb":"list","user":{"username":"system:node:here"},"objectRef":{"resource":"secrets","apiVersion":"v1"},"responseStatus":{"metadata":{},"status":"Failure","message":"secrets is forbidden","reason":"Forbidden","code":403},"requestReceivedTimestamp":"2026-11-21T02:40:50.100000Z","stageTimestamp":"2026-11-21T02:40:50.200000Z","annotations":{"authorization.k8s.io/decision":"forbid","authorization.k8s.io/reason":"can only read namespaced object of this type"}}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"c","stage":"ResponseStarted","requestURI":"/api/v1/pods?watch=true","verb":"watch","user":{"username":"system:node:here"},"responseStatus":{"metadata":{},"code":200},"requestReceivedTimestamp":"2026-11-21T02:40:51.100000Z","stageTimestamp":"2026-11-21T02:40:51.200000Z"}
{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Meta`

func TestAudit(t *testing.T) {
	p := &Plane{AuditLog: filepath.Join(t.TempDir(), "audit.log")}
	if refused, err := p.Refused("system:node:here"); err != nil || refused != nil {
		t.Fatalf("without a log: %v, %v", refused, err)
	}
	if err := os.WriteFile(p.AuditLog, []byte(auditLines), 0o644); err != nil {
		t.Fatal(err)
	}
	refused, err := p.Refused("system:node:here")
	if err != nil || len(refused) != 1 || refused[0].AuditID != "b" {
		t.Fatalf("refused: %+v, %v; want b", refused, err)
	}
	for _, part := range []string{"list /api/v1/secrets by system:node:here: 403", "can only read namespaced object"} {
		if said := Describe(refused); !strings.Contains(said, part) {
			t.Errorf("%q lacks %q", said, part)
		}
	}
	if other, err := p.Refused("system:node:there"); err != nil || len(other) != 0 {
		t.Errorf("another node was refused %+v, %v", other, err)
	}
	for since, want := range map[string]int{"2026-11-21T02:40:49Z": 2, "2026-11-21T02:40:50Z": 1, "2026-11-21T02:40:52Z": 0} {
		at, err := time.Parse(time.RFC3339, since)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Requests("system:node:here", at); err != nil || len(got) != want {
			t.Errorf("since %s: %d requests, %v; want %d that ended", since, len(got), err, want)
		}
	}
}
