package source

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/manifest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

// goodObjects replaces the ConfigMaps and Secrets of a manifest. Those that are as they were stay the same objects.
func (s *shelf) goodObjects(origin string, h *held, c *manifest.Content, now time.Time) {
	if len(c.ConfigMaps)+len(c.Secrets)+len(h.objects) == 0 {
		return
	}
	next := make([]*Object, 0, len(c.ConfigMaps)+len(c.Secrets))
	for _, m := range c.ConfigMaps {
		next = append(next, &Object{ConfigMap: m, Source: s.source, Origin: origin, Seen: now})
	}
	for _, m := range c.Secrets {
		next = append(next, &Object{Secret: m, Source: s.source, Origin: origin, Seen: now})
	}
	for i, o := range next {
		at := slices.IndexFunc(h.objects, func(old *Object) bool { return old.Key() == o.Key() })
		if at < 0 {
			continue
		}
		if o.Seen = h.objects[at].Seen; o.same(h.objects[at]) {
			next[i] = h.objects[at]
		}
	}
	h.objects = next
}

// leftOut tells of what a manifest holds that a node cannot run. The rest is used.
func (s *shelf) leftOut(origin string, h *held, messages []string, now time.Time) {
	h.problem, h.partly = &Problem{Source: s.source, Origin: origin, Messages: messages, Since: now}, true
	if slices.ContainsFunc(s.last.Problems, func(p Problem) bool { return p.Origin == origin && slices.Equal(p.Messages, messages) }) {
		return
	}
	s.log.Warn("some of a manifest is not for a node; the rest is used", "origin", origin, "problems", messages)
	s.notes(note.Note{At: now, About: note.About{Kind: "Manifest", Name: origin}, Level: note.Warning, Minor: true, // the log has it
		Reason: reason.FailedValidation, Message: strings.Join(messages, "; ")})
}

// chooseObjects decides which objects are used: one of each name. The one in use stays; else the first origin in the order of
// names wins, and within it the first document.
func (s *shelf) chooseObjects() (map[ObjectKey]*Object, []clash) {
	var chosen map[ObjectKey]*Object
	var clashes []clash
	take := func(may func(*held, *Object) bool) {
		for _, origin := range s.inOrder() {
			h := s.held[origin]
			for _, o := range h.objects {
				if chosen[o.Key()] != nil || !may(h, o) {
					continue
				}
				if chosen == nil {
					chosen = map[ObjectKey]*Object{}
				}
				chosen[o.Key()] = o
			}
		}
	}
	take(func(h *held, o *Object) bool {
		old := s.last.Objects[o.Key()]
		return old != nil && old.Origin == o.Origin && !h.leaving
	})
	take(func(h *held, _ *Object) bool { return !h.leaving })
	take(func(*held, *Object) bool { return true })
	for _, origin := range s.inOrder() {
		for _, o := range s.held[origin].objects {
			if used := chosen[o.Key()]; used != o && !s.held[origin].leaving {
				clashes = append(clashes, objectClash(o, used))
			}
		}
	}
	return chosen, clashes
}

func objectClash(o, used *Object) clash {
	k := o.Key()
	where := "of " + used.Origin
	switch used.Origin {
	case o.Origin:
		where = "of the same manifest"
	case "":
		where = "that was given with kubectl"
	}
	return clash{key: clashKey{o.Origin, types.UID(k.String())}, source: o.Source, about: note.About{Kind: k.Kind, Namespace: k.Namespace, Name: k.Name},
		why: "there is a " + strings.ToLower(k.Kind) + " of that name already, " + where + ", which is used: rename or remove one of them"}
}

// joinObjects puts the objects of all sources together: the one in use stays, else that of the earliest source.
func joinObjects(all []Snapshot, last map[ObjectKey]*Object) (map[ObjectKey]*Object, []clash) {
	var joined map[ObjectKey]*Object
	for _, s := range all {
		for k, o := range s.Objects {
			if joined == nil {
				joined = map[ObjectKey]*Object{}
			}
			old, used := last[k], joined[k]
			if used == nil || old != nil && old.Source == o.Source && old.Origin == o.Origin {
				joined[k] = o
			}
		}
	}
	var clashes []clash
	for _, s := range all {
		for k, o := range s.Objects {
			if joined[k] != o {
				clashes = append(clashes, objectClash(o, joined[k]))
			}
		}
	}
	slices.SortFunc(clashes, func(a, b clash) int {
		return strings.Compare(a.key.origin+string(a.key.uid), b.key.origin+string(b.key.uid))
	})
	return joined, clashes
}
