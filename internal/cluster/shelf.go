package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/tools/cache"
)

// shelf holds what a Reflector has heard of some objects. It is the Reflector's store.
type shelf[T object] struct {
	// changed holds something while there is a listing that nobody has taken.
	changed chan struct{}

	mu      sync.Mutex
	listing Listing[T]
	// lent is true while listing.Objects is in the hands of others.
	lent bool
}

func newShelf[T object]() *shelf[T] { return &shelf[T]{changed: make(chan struct{}, 1)} }

// take returns the newest listing.
func (s *shelf[T]) take() Listing[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lent = true
	return s.listing
}

// change lets f change the listing. f must not change what lies below Objects[i].
func (s *shelf[T]) change(f func(*Listing[T])) {
	s.mu.Lock()
	if s.lent {
		s.listing.Objects, s.lent = slices.Clone(s.listing.Objects), false
	}
	f(&s.listing)
	s.mu.Unlock()
	s.signal()
}

func (s *shelf[T]) signal() {
	select {
	case s.changed <- struct{}{}:
	default: // the newest is taken together with those before it
	}
}

// fares notes whether the API server answers. That it does is no news before there is a listing.
func (s *shelf[T]) fares(err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.listing.Err
	if (err == nil) != (was == nil) || s.listing.Since.IsZero() {
		s.listing.Since = now
	}
	s.listing.Err = err
	if (err == nil) != (was == nil) || err != nil && err.Error() != was.Error() {
		s.signal()
	}
}

var errForeign = errors.New("the API server sent an object of another type")

func (s *shelf[T]) own(obj any) (T, error) {
	t, ok := obj.(T)
	if !ok {
		return t, fmt.Errorf("%w: %T", errForeign, obj)
	}
	t.SetManagedFields(nil)
	return t, nil
}

func byName[T object](a, b T) int {
	return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
}

// Add puts an object on the shelf, or in the place of the one of its name.
func (s *shelf[T]) Add(obj any) error {
	t, err := s.own(obj)
	if err != nil {
		return err
	}
	s.change(func(l *Listing[T]) {
		at, found := slices.BinarySearchFunc(l.Objects, t, byName[T])
		if found {
			l.Objects[at] = t
			return
		}
		l.Objects = slices.Insert(l.Objects, at, t)
	})
	return nil
}

// Update is Add.
func (s *shelf[T]) Update(obj any) error { return s.Add(obj) }

// Delete takes the object of that name from the shelf.
func (s *shelf[T]) Delete(obj any) error {
	t, err := s.own(obj)
	if err != nil {
		return err
	}
	s.change(func(l *Listing[T]) {
		if at, found := slices.BinarySearchFunc(l.Objects, t, byName[T]); found {
			l.Objects = slices.Delete(l.Objects, at, at+1)
		}
	})
	return nil
}

// Replace puts all of a list on the shelf, and nothing else.
func (s *shelf[T]) Replace(list []any, _ string) error {
	objects := make([]T, 0, len(list))
	for _, obj := range list {
		t, err := s.own(obj)
		if err != nil {
			return err
		}
		objects = append(objects, t)
	}
	slices.SortFunc(objects, byName[T])
	s.change(func(l *Listing[T]) { l.Objects, l.Synced = objects, true })
	return nil
}

// Resync does nothing: nobody waits for old news.
func (s *shelf[T]) Resync() error { return nil }

// Transformer makes the Reflector drop what is not kept before it gathers a first list.
func (s *shelf[T]) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		if o, ok := obj.(object); ok {
			o.SetManagedFields(nil)
		}
		return obj, nil
	}
}
