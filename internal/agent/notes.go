package agent

import (
	"strings"
	"time"

	"github.com/bosun-project/bosun/internal/note"
)

// note keeps a happening, counts it, and writes to the log what is news: what goes on for long, or says nothing that was
// not said yet, is in the events and in `bosun explain`.
func (a *Agent) note(n note.Note) {
	if n.About.Kind == "Node" && n.About.Name == "" {
		n.About.Name = a.host.Name
	}
	fresh := a.notes.Add(n)
	a.metrics.Note(n)
	if a.events != nil {
		a.events.Sink(n)
	}
	say := a.log.Info
	switch {
	case !fresh || n.Minor:
		say = a.log.Debug
	case n.Level == note.Warning:
		say = a.log.Warn
	}
	about := n.About.Name
	if n.About.Namespace != "" {
		about = n.About.Namespace + "/" + about
	}
	attrs := []any{"reason", n.Reason, strings.ToLower(n.About.Kind), about}
	if n.About.Container != "" {
		attrs = append(attrs, "container", n.About.Container)
	}
	say(n.Message, attrs...)
}

func (a *Agent) nodeNote(level note.Level, reason, message string) {
	a.note(note.Note{At: time.Now(), Level: level, Reason: reason, Message: message, About: note.About{Kind: "Node", Name: a.host.Name}})
}
