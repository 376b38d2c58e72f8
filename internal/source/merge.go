package source

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bosun-project/bosun/internal/latest"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/pod"
	"github.com/bosun-project/bosun/internal/reason"
)

// Merge joins several sources into one: a pod of a full name, or of a UID, is wanted once. It is ready when all of them are;
// with no sources it is ready at once and wants nothing.
type Merge struct {
	sources []*latest.Cell[Snapshot]
	log     *slog.Logger
	notes   note.Sink
	out     latest.Cell[Snapshot]

	// The rest belongs to the goroutine of Run.

	last Snapshot
}

// NewMerge builds it; Run makes it work. Where two sources want pods of one name and neither runs, the earlier source wins.
func NewMerge(log *slog.Logger, notes note.Sink, sources ...*latest.Cell[Snapshot]) *Merge {
	return &Merge{sources: sources, log: log, notes: notes}
}

// Cell holds what all sources together want now.
func (m *Merge) Cell() *latest.Cell[Snapshot] { return &m.out }

// Run follows the sources until the context ends, and returns its error.
func (m *Merge) Run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	var followers sync.WaitGroup
	defer followers.Wait()
	for _, cell := range m.sources {
		followers.Go(func() {
			for {
				_, newer := cell.Get()
				select {
				case changed <- struct{}{}:
				default: // a look that has not happened yet will see this one too
				}
				select {
				case <-newer:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for {
		m.turn(time.Now())
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (m *Merge) turn(now time.Time) {
	all := make([]Snapshot, 0, len(m.sources))
	for _, cell := range m.sources {
		all = append(all, cell.Value())
	}
	next, clashes := join(all, m.last)
	for _, c := range clashes {
		if at := slices.IndexFunc(m.last.Problems, c.sameAs); at >= 0 {
			c.problem.Since = m.last.Problems[at].Since
		} else {
			c.problem.Since = now
			m.tell(c, now)
		}
		next.Problems = append(next.Problems, c.problem)
	}
	if !next.same(m.last) {
		m.last = next
		m.out.Set(next)
	}
}

func (m *Merge) tell(c mergeClash, now time.Time) {
	kind := strings.ToLower(c.about.Kind)
	m.log.Warn(kind+" is not used", "origin", c.problem.Origin, "source", c.problem.Source, kind, c.about.Namespace+"/"+c.about.Name, "why", c.why)
	m.notes(note.Note{At: now, Level: note.Warning, Minor: true, Reason: reason.FailedValidation, About: c.about, // the log has it
		Message: "Error validating " + kind + " from " + strconv.Quote(cmp.Or(c.problem.Origin, string(c.problem.Source))) + ": " + c.why})
}

// mergeClash is a pod or another object that cannot be used beside one of another source.
type mergeClash struct {
	about   note.About
	why     string
	problem Problem
}

func newMergeClash(about note.About, source pod.Source, origin, why string) mergeClash {
	return mergeClash{about, why, Problem{Source: source, Origin: origin,
		Messages: []string{strings.ToLower(about.Kind) + " " + about.Namespace + "/" + about.Name + " " + why}}}
}

func (c mergeClash) sameAs(p Problem) bool {
	return p.Source == c.problem.Source && p.Origin == c.problem.Origin && slices.Equal(p.Messages, c.problem.Messages)
}

// join puts the snapshots together. Of several pods with one name, the one that was wanted before stays; else that of
// the earliest source.
func join(all []Snapshot, last Snapshot) (Snapshot, []mergeClash) {
	holder := map[pod.FullName]pod.Source{}
	for _, d := range last.Pods {
		holder[pod.FullNameOf(d.Pod)] = d.Source
	}
	next := Snapshot{Pods: map[types.UID]*pod.Desired{}, Ready: true, Spoken: spoken(all)}
	type candidate struct {
		*pod.Desired
		full pod.FullName
		rank int
	}
	var candidates []candidate
	for i, s := range all {
		next.Ready = next.Ready && s.Ready
		next.Problems = append(next.Problems, s.Problems...)
		for _, d := range s.Pods {
			c := candidate{d, pod.FullNameOf(d.Pod), i + 1}
			if holder[c.full] == d.Source {
				c.rank = 0
			}
			candidates = append(candidates, c)
		}
	}
	slices.SortFunc(candidates, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.full, b.full), cmp.Compare(a.Source, b.Source), cmp.Compare(a.UID(), b.UID()))
	})
	taken := map[pod.FullName]*pod.Desired{}
	var clashes []mergeClash
	for _, c := range candidates {
		other := cmp.Or(taken[c.full], next.Pods[c.UID()])
		if other == nil {
			taken[c.full], next.Pods[c.UID()] = c.Desired, c.Desired
			continue
		}
		what := "name"
		if taken[c.full] == nil {
			what = "UID"
		}
		why := "there is a pod of that " + what + " already, from " + cmp.Or(other.Origin, "the source "+string(other.Source)) +
			", which is used: rename or remove one of them"
		clashes = append(clashes, newMergeClash(note.About{Kind: "Pod", Namespace: c.Pod.Namespace, Name: c.Pod.Name, UID: c.UID()}, c.Source, c.Origin, why))
	}
	var refused []clash
	next.Objects, refused = joinObjects(all, last.Objects)
	for _, c := range refused {
		clashes = append(clashes, newMergeClash(c.about, c.source, c.key.origin, c.why))
	}
	return next, clashes
}

// spoken are the kinds of source of which each one has spoken.
func spoken(all []Snapshot) map[pod.Source]bool {
	kinds := map[pod.Source]bool{}
	for _, s := range all {
		kinds[s.Source] = true
	}
	for _, s := range all {
		if !s.Ready {
			delete(kinds, s.Source)
		}
	}
	return kinds
}
