package source

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/manifest"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// shelf keeps the last good version of every manifest of one source, what is wrong with the newest one, and publishes
// the pods. One goroutine uses it.
type shelf struct {
	source   pod.Source
	nodeName string
	// local tells that manifests may hold ConfigMaps and Secrets.
	local   bool
	running func(types.UID) bool
	log     *slog.Logger
	notes   note.Sink

	held    map[string]*held // by origin
	origins []string         // of held, sorted; nil when that has to be done again
	out     latest.Cell[Snapshot]
	last    Snapshot
	holders map[pod.FullName]*pod.Desired // the pods of last by name
	ready   bool
	// quiet is true while faults are told in the snapshot only, because there were many.
	quiet bool
	// clashes remembers since when a pod is refused for its name or UID, by origin and UID.
	clashes map[clashKey]time.Time
}

// held is one manifest.
type held struct {
	// sum identifies the content that was read last, good or bad.
	sum  [sha256.Size]byte
	pods []*v1.Pod
	full []pod.FullName // of pods
	// objects are the ConfigMaps and Secrets beside the pods.
	objects []*Object
	// good is true once a version of it was usable.
	good bool
	// problem is nil while the newest version is usable.
	problem *Problem
	// partly tells that the problem is about documents that are for no node, and the rest is used.
	partly bool
	// leaving is true while the manifest is not there but may come back: it gives way to others of the same name.
	leaving bool
}

type clashKey struct {
	origin string
	uid    types.UID
}

func newShelf(source pod.Source, nodeName string, local bool, running func(types.UID) bool, log *slog.Logger, notes note.Sink) *shelf {
	if running == nil {
		running = func(types.UID) bool { return false }
	}
	s := &shelf{source: source, nodeName: nodeName, local: local, running: running, log: log, notes: notes,
		held: map[string]*held{}, clashes: map[clashKey]time.Time{}}
	s.out.Set(Snapshot{Source: source})
	return s
}

func (s *shelf) of(origin string) *held {
	h := s.held[origin]
	if h == nil {
		h = &held{}
		s.held[origin] = h
		s.origins = nil
	}
	return h
}

// put takes the newest content of a manifest. A content that is the same as before changes nothing. emptyEnds tells
// whether an empty content is an order to end the pods.
func (s *shelf) put(origin string, data []byte, emptyEnds bool, now time.Time) {
	h := s.of(origin)
	h.leaving = false
	sum := sha256.Sum256(data)
	if sum == h.sum && (h.good || h.problem != nil) {
		return
	}
	h.sum = sum
	if !emptyEnds && len(bytes.TrimSpace(data)) == 0 {
		if len(h.pods)+len(h.objects) > 0 {
			s.fault(origin, []string{"is empty: want a manifest, or remove the file to end its pods"}, now)
		} else {
			s.good(origin, h, nil)
			h.objects = nil
		}
		return
	}
	c, err := manifest.ReadAll(data, manifest.From{Source: s.source, Origin: origin, NodeName: s.nodeName, Seen: now, Objects: s.local})
	if err != nil {
		s.fault(origin, messagesOf(err), now)
		return
	}
	s.good(origin, h, c.Pods)
	s.goodObjects(origin, h, c, now)
	if len(c.Left) > 0 {
		s.leftOut(origin, h, c.Left, now)
	}
}

func messagesOf(err error) []string {
	if e, ok := errors.AsType[*manifest.Error](err); ok {
		return e.Messages()
	}
	return []string{err.Error()}
}

// good replaces the pods of a manifest. Pods that are as they were stay the same objects.
func (s *shelf) good(origin string, h *held, pods []*v1.Pod) {
	for i, p := range pods {
		at := slices.IndexFunc(h.pods, func(o *v1.Pod) bool { return o.UID == p.UID })
		if at < 0 {
			if odd := manifest.OddPriority(p); odd != "" {
				s.log.Warn("the priority of a pod is odd", "origin", origin, "pod", p.Namespace+"/"+p.Name, "why", odd)
			}
			continue
		}
		p.Annotations[names.ConfigSeen] = h.pods[at].Annotations[names.ConfigSeen]
		if equality.Semantic.DeepEqual(p, h.pods[at]) {
			pods[i] = h.pods[at]
		}
	}
	if h.problem != nil && !h.partly {
		s.log.Info("manifest is usable again", "origin", origin, "pods", len(pods))
	}
	h.pods, h.good, h.problem, h.partly = pods, true, nil, false
	h.full = h.full[:0]
	for _, p := range pods {
		h.full = append(h.full, pod.FullNameOf(p))
	}
}

// fault keeps what is wrong with a manifest, and tells it once.
func (s *shelf) fault(origin string, messages []string, now time.Time) {
	h := s.of(origin)
	h.leaving = false
	if h.problem != nil && slices.Equal(h.problem.Messages, messages) {
		return
	}
	since := now
	if h.problem != nil && !h.partly {
		since = h.problem.Since
	}
	h.partly = false
	h.problem = &Problem{Source: s.source, Origin: origin, Messages: messages, Since: since, Keeps: len(h.pods), Unknown: !h.good}
	if s.quiet {
		s.log.Debug("manifest still cannot be used", "origin", origin, "problems", messages)
		return
	}
	s.log.Warn("manifest cannot be used; its pods stay as they are", "origin", origin, "pods", len(h.pods), "problems", messages)
	s.notes(note.Note{At: now, About: note.About{Kind: "Manifest", Name: origin}, Level: note.Warning, Minor: true, // the log has it
		Reason: reason.FailedValidation, Message: strings.Join(messages, "; ")})
}

// unreadable is fault for a manifest that could not be had at all.
func (s *shelf) unreadable(origin string, err error, now time.Time) {
	s.of(origin).sum = [sha256.Size]byte{}
	s.fault(origin, []string{"cannot be read: " + err.Error()}, now)
}

// drop forgets a manifest and with it its pods.
func (s *shelf) drop(origin string) {
	if s.held[origin] != nil {
		delete(s.held, origin)
		s.origins = nil
	}
}

// inOrder returns the origins in the order of their names.
func (s *shelf) inOrder() []string {
	if s.origins == nil {
		s.origins = slices.Sorted(maps.Keys(s.held))
	}
	return s.origins
}

// publish puts the pods together and tells whether a clash waits to be told, and when.
func (s *shelf) publish(now time.Time) (again time.Time) {
	pods, holders, clashes := s.choose()
	objects, more := s.chooseObjects()
	clashes = append(clashes, more...)
	next := Snapshot{Pods: pods, Objects: objects, Ready: s.ready, Source: s.source}
	for _, origin := range s.inOrder() {
		if p := s.held[origin].problem; p != nil {
			next.Problems = append(next.Problems, *p)
		}
	}
	told, again := s.tellClashes(clashes, now)
	next.Problems = append(next.Problems, told...)
	slices.SortStableFunc(next.Problems, func(a, b Problem) int { return cmp.Compare(a.Origin, b.Origin) })
	if !next.same(s.last) {
		s.last = next
		s.out.Set(next)
	}
	s.holders = holders
	return again
}

// clash is a pod that cannot be used beside another one.
type clash struct {
	key   clashKey
	about note.About
	why   string
	// source is set for objects.
	source pod.Source
}

func podClash(key clashKey, p *v1.Pod, why string) clash {
	return clash{key: key, about: note.About{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID}, why: why}
}

// what names the object that is not used.
func (c clash) what() string {
	return strings.ToLower(c.about.Kind) + " " + c.about.Namespace + "/" + c.about.Name
}

// choose decides which pods are wanted: at most one of a full name and one of a UID. The one that runs already stays;
// among new ones, the first origin in the order of names wins, and within it the first document.
func (s *shelf) choose() (map[types.UID]*pod.Desired, map[pod.FullName]*pod.Desired, []clash) {
	type candidate struct {
		pod    *v1.Pod
		full   pod.FullName
		origin string
		rank   int
	}
	all := make([]candidate, 0, len(s.last.Pods)+1)
	for _, origin := range s.inOrder() {
		h := s.held[origin]
		for i, p := range h.pods {
			c := candidate{pod: p, full: h.full[i], origin: origin, rank: 2}
			switch d := s.holders[c.full]; {
			case h.leaving:
				c.rank = 3
			case d != nil && d.Origin == origin:
				c.rank = 0
			case d == nil && s.running(p.UID):
				c.rank = 1
			}
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(a.rank, b.rank) })
	chosen := make(map[types.UID]*pod.Desired, len(all))
	taken := make(map[pod.FullName]*pod.Desired, len(all))
	var clashes []clash
	for _, c := range all {
		key := clashKey{c.origin, c.pod.UID}
		switch other, same := taken[c.full], chosen[c.pod.UID]; {
		case other != nil:
			if !s.held[c.origin].leaving {
				clashes = append(clashes, podClash(key, c.pod, nameTaken(c.origin, other)))
			}
		case same != nil:
			clashes = append(clashes, podClash(key, c.pod, "has the UID "+string(c.pod.UID)+" of pod "+same.Pod.Namespace+"/"+
				same.Pod.Name+" of "+same.Origin+", which is used: give it another metadata.uid, or none"))
		default:
			d := s.desired(c.pod, c.origin)
			chosen[c.pod.UID], taken[c.full] = d, d
		}
	}
	return chosen, taken, clashes
}

func nameTaken(origin string, other *pod.Desired) string {
	where := "of " + other.Origin
	if other.Origin == origin {
		where = "of the same manifest"
	}
	return "there is a pod of that name already, " + where + ", which is used: rename or remove one of them"
}

// desired keeps the object of a pod that stays, and the time of a pod whose UID stays.
func (s *shelf) desired(p *v1.Pod, origin string) *pod.Desired {
	before := s.last.Pods[p.UID]
	if before != nil && before.Pod == p && before.Origin == origin {
		return before
	}
	seen, err := time.Parse(time.RFC3339Nano, p.Annotations[names.ConfigSeen])
	if err != nil { // it was written by manifest.Static
		seen = time.Time{}
	}
	if before != nil {
		seen = before.Seen
	}
	return &pod.Desired{Pod: p, Source: s.source, Origin: origin, Seen: seen, Wanted: true}
}

// tellClashes makes problems of clashes that have lasted for Settle. Younger ones are often a rename or a temporary
// file on its way, and gone before anybody could do something about them; again is when to look at those.
func (s *shelf) tellClashes(list []clash, now time.Time) (told []Problem, again time.Time) {
	current := map[clashKey]time.Time{}
	for _, c := range list {
		since, known := s.clashes[c.key]
		if !known {
			since = now
		}
		current[c.key] = since
		due := since.Add(Settle)
		if now.Before(due) {
			if again.IsZero() || due.Before(again) {
				again = due
			}
			continue
		}
		message := c.what() + " " + c.why
		told = append(told, Problem{Source: s.source, Origin: c.key.origin, Messages: []string{message}, Since: since})
		if !slices.ContainsFunc(s.last.Problems, func(p Problem) bool { return p.Origin == c.key.origin && slices.Contains(p.Messages, message) }) {
			kind := strings.ToLower(c.about.Kind)
			s.log.Warn(kind+" is not used", "origin", c.key.origin, kind, c.about.Namespace+"/"+c.about.Name, "why", c.why)
			s.notes(note.Note{At: now, Level: note.Warning, Minor: true, Reason: reason.FailedValidation, About: c.about,
				Message: "Error validating " + kind + " from " + strconv.Quote(c.key.origin) + ": " + c.why})
		}
	}
	s.clashes = current
	return told, again
}
