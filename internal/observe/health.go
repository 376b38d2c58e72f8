package observe

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/bosun-project/bosun/internal/engine"
	"k8s.io/apimachinery/pkg/types"
)

const notAskedYet = "the container runtime has not answered yet"

// Health is how the container runtime fares, and how well its pods are known.
type Health struct {
	// Asked tells that the runtime answered, or failed to, since the start.
	Asked bool
	// Up tells that the runtime answers and calls itself ready; Since when it is as it is. Message says what is
	// wrong while it is not up; it is "container runtime is down: …" when it does not answer (behaviour 20).
	Up      bool
	Since   time.Time
	Message string
	// NetworkReady tells that pods with a network of their own can start. NetworkMessage says what is wrong
	// otherwise (behaviours 21, 292).
	NetworkReady   bool
	NetworkMessage string
	// RuntimeName and RuntimeVersion are who it is, as of its last answer; so are Handlers and Features.
	RuntimeName, RuntimeVersion string
	Handlers                    []engine.Handler
	Features                    engine.Features
	// EventStream tells that events come; without them changes are found by listing.
	EventStream bool
	// Relisted tells that one full listing was delivered since the start: complete reports of every pod in it.
	// Before that nothing may be deleted.
	Relisted bool
	// Hung names the pods whose inspection does not come back, by UID.
	Hung []Hung
	// answers tells that the runtime answers, ready or not.
	answers bool
}

// Listing is the newest listing of the runtime's pods; the zero Listing stands for none.
type Listing struct {
	Began time.Time
	Took  time.Duration
}

// Hung is a pod whose inspection has not come back.
type Hung struct {
	UID   types.UID
	Since time.Time
}

// change publishes a new health if it is another one. It returns the one before.
func (o *Observer) change(edit func(*Health)) Health {
	o.changing.Lock()
	defer o.changing.Unlock()
	before := o.health.Value()
	after := before
	edit(&after)
	if !reflect.DeepEqual(before, after) { // readers are not woken for nothing
		o.health.Set(after)
	}
	return before
}

// untilAnswering waits until the runtime answers, and tells whether ctx still goes on.
func (o *Observer) untilAnswering(ctx context.Context) bool {
	for {
		h, newer := o.health.Get()
		if h.answers {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-newer:
		}
	}
}

func (h *Health) addHung(uid types.UID, since time.Time) {
	h.dropHung(uid)
	h.Hung = append(h.Hung, Hung{UID: uid, Since: since})
	slices.SortFunc(h.Hung, func(a, b Hung) int { return strings.Compare(string(a.UID), string(b.UID)) })
}

func (h *Health) dropHung(uid types.UID) {
	h.Hung = slices.DeleteFunc(slices.Clone(h.Hung), func(g Hung) bool { return g.UID == uid })
}
