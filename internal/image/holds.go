package image

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/distribution/reference"
)

// Holds keeps the wish for an image and its removal apart. Between the moment an image is found on the node, or was pulled,
// and the moment a container is created from it, nothing in the runtime says that somebody needs it.
//
// An image that is being ensured, or was since somebody last looked what is in use, is not removed. One that is being
// removed is ensured when it is gone, and so pulled again. It is safe for concurrent use.
type Holds struct {
	mu sync.Mutex
	// wishes are under way.
	wishes map[*wish]struct{}
	// removals are under way, by each ID and name of their images; done is closed when one is over.
	removals map[string]*removal
	// ensured is when an image, by ID, was last said to be there.
	ensured map[string]time.Time
}

type wish struct {
	names map[string]bool
	// lost holds the removals, by the IDs of their images, that were under way when it began, or were begun since.
	lost map[string]*removal
}

type removal struct{ done chan struct{} }

// NewHolds holds nothing.
func NewHolds() *Holds {
	return &Holds{wishes: map[*wish]struct{}{}, removals: map[string]*removal{}, ensured: map[string]time.Time{}}
}

// Ensure calls ensure, again if the image was being removed meanwhile. Names are all the ways in which the runtime may know it.
func (h *Holds) Ensure(ctx context.Context, names []string, ensure func() (Result, error)) (Result, error) {
	for {
		w, err := h.begin(ctx, names)
		if err != nil {
			return Result{}, err
		}
		r, err := ensure()
		again := h.end(w, r.ID, err)
		if again == nil {
			return r, err
		}
		if err := again.wait(ctx); err != nil {
			return Result{}, err
		}
	}
}

// begin waits until the image is not being removed and begins to wish for it.
func (h *Holds) begin(ctx context.Context, names []string) (*wish, error) {
	for {
		h.mu.Lock()
		r := h.removalOf("", names)
		if r == nil {
			w := &wish{names: map[string]bool{}, lost: maps.Clone(h.removals)}
			for _, name := range names {
				w.names[name] = true
			}
			h.wishes[w] = struct{}{}
			h.mu.Unlock()
			return w, nil
		}
		h.mu.Unlock()
		if err := r.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// end ends a wish that came out at an image. If that was being removed meanwhile, its removal is returned.
func (h *Holds) end(w *wish, id string, err error) *removal {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.wishes, w)
	if err != nil {
		return nil
	}
	if r := w.lost[id]; r != nil {
		return r
	}
	now := time.Now()
	for other, at := range h.ensured {
		if now.Sub(at) > longPast {
			delete(h.ensured, other)
		}
	}
	h.ensured[id] = now
	return nil
}

// longPast is longer than any look at what is in use takes.
const longPast = time.Hour

// settle is how long it may take, at most, until everybody can see who wished for an image that is there.
const settle = time.Minute

// Remove calls remove, unless somebody wishes for the image now or has since a look at what is in use, which is what the
// caller goes by. It tells whether it did.
func (h *Holds) Remove(ctx context.Context, id string, names []string, looked time.Time, remove func(context.Context) error) (bool, error) {
	r := h.claim(id, names, looked)
	if r == nil {
		return false, nil
	}
	defer h.release(r)
	return true, remove(ctx)
}

func (h *Holds) claim(id string, names []string, looked time.Time) *removal {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.removalOf(id, names) != nil {
		return nil
	}
	if at, ok := h.ensured[id]; ok && at.After(looked.Add(-settle)) {
		return nil
	}
	for w := range h.wishes {
		if w.names[id] {
			return nil
		}
		for _, name := range names {
			if w.names[name] {
				return nil
			}
		}
	}
	r := &removal{done: make(chan struct{})}
	h.removals[id] = r
	for _, name := range names {
		h.removals[name] = r
	}
	for w := range h.wishes { // a pull of another name may come out at this image
		w.lost[id] = r
	}
	delete(h.ensured, id)
	return r
}

func (h *Holds) release(r *removal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, of := range h.removals {
		if of == r {
			delete(h.removals, name)
		}
	}
	close(r.done)
}

func (h *Holds) removalOf(id string, names []string) *removal {
	if r := h.removals[id]; r != nil {
		return r
	}
	for _, name := range names {
		if r := h.removals[name]; r != nil {
			return r
		}
	}
	return nil
}

func (r *removal) wait(ctx context.Context) error {
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Names are the ways in which the runtime may know an image that a pod calls so.
func Names(image string) []string {
	names := []string{image}
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return names
	}
	names = append(names, reference.TagNameOnly(named).String())
	if d, ok := named.(reference.Digested); ok {
		names = append(names, reference.TrimNamed(named).String()+"@"+d.Digest().String())
	}
	return names
}
