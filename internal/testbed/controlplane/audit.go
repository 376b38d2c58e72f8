package controlplane

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// An AuditEvent is one request as the API server saw it. Each is written when it ends (stage ResponseComplete); a watch
// also when it begins (ResponseStarted).
type AuditEvent struct {
	AuditID                  string
	Stage                    string
	Verb                     string
	RequestURI               string
	UserAgent                string
	User                     AuditUser
	ObjectRef                *AuditObject
	ResponseStatus           *AuditStatus
	RequestReceivedTimestamp time.Time
	StageTimestamp           time.Time
	Annotations              map[string]string
}

// AuditUser is who asked.
type AuditUser struct {
	Username string
	Groups   []string
}

// AuditObject is what was asked for.
type AuditObject struct{ APIGroup, APIVersion, Resource, Subresource, Namespace, Name string }

// AuditStatus is the answer.
type AuditStatus struct {
	Code            int
	Reason, Message string
}

// Code is the answer's status code, 0 if there was none.
func (e *AuditEvent) Code() int {
	if e.ResponseStatus == nil {
		return 0
	}
	return e.ResponseStatus.Code
}

func (e *AuditEvent) String() string {
	text := fmt.Sprintf("%s %s by %s: %d", e.Verb, e.RequestURI, e.User.Username, e.Code())
	if e.ResponseStatus != nil && e.ResponseStatus.Message != "" {
		text += " " + e.ResponseStatus.Message
	}
	if why := e.Annotations["authorization.k8s.io/reason"]; why != "" {
		text += " (" + why + ")"
	}
	return text
}

// Audit lists the requests that keep wants, in the order in which they ended.
func (p *Plane) Audit(keep func(*AuditEvent) bool) ([]AuditEvent, error) {
	data, err := os.ReadFile(p.AuditLog)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nobody has asked anything yet
	}
	if err != nil {
		return nil, err
	}
	whole := data[:bytes.LastIndexByte(data, '\n')+1] // the last line may be half written
	var found []AuditEvent
	for line := range bytes.Lines(whole) {
		var e AuditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("read audit log %s: %w", p.AuditLog, err)
		}
		if keep(&e) {
			found = append(found, e)
		}
	}
	return found, nil
}

// Requests lists the finished requests of a user, such as system:node:NAME, that came at or after since.
func (p *Plane) Requests(user string, since time.Time) ([]AuditEvent, error) {
	return p.Audit(func(e *AuditEvent) bool {
		return e.User.Username == user && e.Stage == "ResponseComplete" && !e.RequestReceivedTimestamp.Before(since)
	})
}

// Refused lists what a user was denied (403): by the authorizer, or by admission such as NodeRestriction.
func (p *Plane) Refused(user string) ([]AuditEvent, error) {
	return p.Audit(func(e *AuditEvent) bool { return e.User.Username == user && e.Code() == 403 })
}

// Describe is the events one a line, for the message of a test that fails.
func Describe(events []AuditEvent) string {
	var lines []string
	for _, e := range events {
		lines = append(lines, e.String())
	}
	return strings.Join(lines, "\n")
}
