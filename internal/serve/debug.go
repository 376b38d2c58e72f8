package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/bosun-project/bosun/internal/image"
	"github.com/bosun-project/bosun/internal/note"
)

// watchGap is the least time between two answers to one watcher.
const watchGap = 200 * time.Millisecond

// Overview is the answer of /debug/pods: everything that explains what the pods do.
type Overview struct {
	At   time.Time `json:"at"`
	Pods []Pod     `json:"pods"`
	// Troubles are what is wrong with the node as a whole.
	Troubles []Trouble `json:"troubles,omitempty"`
	// Problems are manifests that cannot be used.
	Problems []Problem `json:"problems,omitempty"`
}

// Problem is a manifest, or one of its pods, that cannot be used as it is.
type Problem struct {
	Source   string    `json:"source"`
	Origin   string    `json:"origin"`
	Messages []string  `json:"messages"`
	Since    time.Time `json:"since"`
	// Keeps is how many pods of an earlier good version stay because of this.
	Keeps int `json:"keeps,omitempty"`
}

// Events is the answer of /events, oldest first.
type Events struct {
	Events []Event `json:"events"`
}

// Event is a happening. At is when it happened last, Since when first.
type Event struct {
	At        time.Time `json:"at"`
	Since     time.Time `json:"since,omitzero"`
	Level     string    `json:"level"`
	Reason    string    `json:"reason"`
	Message   string    `json:"message"`
	Count     int       `json:"count"`
	Kind      string    `json:"kind"`
	Namespace string    `json:"namespace,omitempty"`
	Name      string    `json:"name"`
	UID       string    `json:"uid,omitempty"`
	Container string    `json:"container,omitempty"`
}

// Pulls is the answer of /debug/pulls. Done and Total are bytes, 0 where they are not known.
type Pulls struct {
	Pulls []Pull `json:"pulls"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

// Pull is one pull of an image in flight; Began is zero while it is queued.
type Pull struct {
	Image   string    `json:"image"`
	Since   time.Time `json:"since"`
	Began   time.Time `json:"began,omitzero"`
	Waiters int       `json:"waiters"`
	Done    int64     `json:"done,omitempty"`
	Total   int64     `json:"total,omitempty"`
}

// Pods returns the pods as /debug/pods shows them, and a channel that is closed when that may have changed.
func (f *Faces) Pods() ([]Pod, <-chan struct{}) {
	entries, newer := f.cfg.Pods.Pods()
	pods := make([]Pod, 0, len(entries))
	now := f.now()
	for _, e := range entries {
		p := explain(e, f.cfg.Status(e), now)
		p.Waits = slices.Concat(p.Waits, f.cfg.Waits(e.Desired.UID()))
		pods = append(pods, p)
	}
	return pods, newer
}

// Problems returns the manifests that cannot be used.
func (f *Faces) Problems() []Problem {
	var out []Problem
	for _, p := range f.cfg.Problems() {
		out = append(out, Problem{Source: string(p.Source), Origin: p.Origin, Messages: p.Messages, Since: p.Since, Keeps: p.Keeps})
	}
	return out
}

// Pulls returns the pulls in flight.
func (f *Faces) Pulls(ctx context.Context) (Pulls, error) {
	p, err := f.cfg.Pulls(ctx)
	return pullsOf(p), err
}

func pullsOf(p image.Progress) Pulls {
	out := Pulls{Pulls: make([]Pull, 0, len(p.Pulls)), Done: p.Done, Total: p.Total}
	for _, one := range p.Pulls {
		out.Pulls = append(out.Pulls, Pull(one))
	}
	return out
}

func (f *Faces) overview() (Overview, <-chan struct{}) {
	pods, newer := f.Pods()
	return Overview{At: f.now(), Pods: pods, Troubles: f.Troubles(), Problems: f.Problems()}, newer
}

func watches(r *http.Request) bool { return truth(r.URL.Query(), "watch") }

// debugPods shows all pods. With ?watch it goes on: one JSON document a line, whenever something has changed.
func (f *Faces) debugPods(w http.ResponseWriter, r *http.Request) {
	if !watches(r) {
		o, _ := f.overview()
		f.answer(w, r, o)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	control := http.NewResponseController(w)
	for {
		o, newer := f.overview()
		if json.NewEncoder(w).Encode(o) != nil || control.Flush() != nil {
			return
		}
		if !pause(r.Context(), watchGap) {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-newer:
		}
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// debugPod shows one pod.
func (f *Faces) debugPod(w http.ResponseWriter, r *http.Request) {
	namespace, name := r.PathValue("namespace"), r.PathValue("pod")
	e := f.find(namespace, name, "")
	if e == nil {
		http.Error(w, fmt.Sprintf("pod %q does not exist in namespace %q", name, namespace), http.StatusNotFound)
		return
	}
	f.answer(w, r, explain(e, f.cfg.Status(e), f.now()))
}

func (f *Faces) debugPulls(w http.ResponseWriter, r *http.Request) {
	pulls, err := f.Pulls(r.Context())
	if err != nil { // bytes are not known; the rest holds
		f.cfg.Log.Debug("the runtime does not tell how far downloads are", "err", err)
	}
	f.answer(w, r, pulls)
}

func (f *Faces) events(w http.ResponseWriter, r *http.Request) {
	out := Events{Events: []Event{}}
	for _, n := range f.cfg.Notes() {
		out.Events = append(out.Events, eventOf(n))
	}
	f.answer(w, r, out)
}

func eventOf(n note.Note) Event {
	return Event{
		At: n.At, Since: n.Since, Level: n.Level.String(), Reason: n.Reason, Message: n.Message, Count: max(n.Count, 1),
		Kind: n.About.Kind, Namespace: n.About.Namespace, Name: n.About.Name, UID: string(n.About.UID), Container: n.About.Container,
	}
}
