package agent

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/bosun-project/bosun/internal/metrics"
	"github.com/bosun-project/bosun/internal/note"
)

// TestNotesInTheLog: the log has what is news, once, with all that says what it is about.
func TestNotesInTheLog(t *testing.T) {
	var log strings.Builder
	a := &Agent{log: slog.New(slog.NewTextHandler(&log, nil)), notes: note.NewList(), metrics: metrics.New(metrics.Config{})}
	a.host.Name = "here"
	pod := note.About{Kind: "Pod", Namespace: "shop", Name: "web", UID: "1", Container: "app"}
	at := time.Now()
	for _, n := range []note.Note{
		{At: at, About: pod, Level: note.Warning, Reason: "Failed", Message: "Failed to pull"},
		{At: at, About: pod, Level: note.Warning, Reason: "Failed", Message: "Error: ErrImagePull", Minor: true},
		{At: at.Add(time.Minute), About: pod, Level: note.Warning, Reason: "Failed", Message: "Failed to pull"},
		{At: at, About: note.About{Kind: "Node"}, Reason: "ContainerRuntimeUp", Message: "up"},
	} {
		a.note(n)
	}
	var got []string
	for line := range strings.Lines(log.String()) {
		_, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		got = append(got, text)
	}
	want := `level=WARN msg="Failed to pull" reason=Failed pod=shop/web container=app|level=INFO msg=up reason=ContainerRuntimeUp node=here`
	if strings.Join(got, "|") != want {
		t.Errorf("the log has %q", got)
	}
}
