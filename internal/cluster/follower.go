package cluster

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/bosun-project/bosun/internal/backoff"
)

const (
	// headPatience is how long the head of a watch's answer may take. Some proxies hold it back until the first event, and where nothing
	// happens that is a bookmark, which comes about once a minute.
	headPatience = 90 * time.Second
	// watchGrace is how long a watch may outlive the time after which the API server should have ended it.
	watchGrace = 30 * time.Second
	// steady is how long a watch must have lived for its end to be an ordinary one, after which the next may begin at once.
	steady = time.Second
)

// pauses are those between attempts, each lengthened at random by up to a half.
var pauses = backoff.Series{Initial: 50 * time.Millisecond, Max: 8 * time.Second}

const (
	// shortLived is the longest pause, before it is lengthened, where watches can be had but die at once: something between here and the
	// API server cuts them, and there is news at each new one.
	shortLived = 2 * time.Second
	// spacing is the least time, before it is lengthened, between two attempts of a node in that case: whoever follows many objects makes
	// longer pauses with each.
	spacing = 100 * time.Millisecond
)

// follower asks for one target on behalf of a Reflector. All its waiting between attempts is here, and none in the Reflector, whose pauses
// know nothing of an API server that has come back.
type follower struct {
	client *Client
	target target
	fares  func(error, time.Time)

	// The following are used by the Reflector's goroutine, and by the one that it waits for while listing.

	// free is how many attempts may still be made without a pause, pause the newest one, tries their number.
	free, tries int
	pause       time.Duration
	// lives is since when the newest watch lives or lived, zero if it did not come to life.
	lives time.Time
	// answered tells that the newest attempt was answered as it should be; paused that pauses are made now.
	answered, paused bool
	// back is closed when the API server has come back since the newest attempt began.
	back <-chan struct{}
}

// atOnce is how many attempts are made without a pause at first, and after a watch that lived: a watch that begins with a list, and
// where that is not to be had a list and a watch.
const atOnce = 3

// follow keeps a listing up to date and tells of it, until ctx ends.
func follow[T object](ctx context.Context, c *Client, t target, tell func(Listing[T])) {
	ctx, stop := context.WithCancel(ctx)
	shelf := newShelf[T]()
	f := &follower{client: c, target: t, fares: shelf.fares, free: atOnce}
	var keeping sync.WaitGroup
	keeping.Go(func() { f.keep(ctx, shelf) })
	defer func() {
		stop()
		keeping.Wait()
		f.pauses(false)
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-shelf.changed:
			tell(shelf.take())
		}
	}
}

// keep runs Reflectors until ctx ends.
func (f *follower) keep(ctx context.Context, store cache.ReflectorStore) {
	for ctx.Err() == nil {
		f.live(ctx, store)
	}
}

// live runs a Reflector until ctx ends, or the API server has been away. Then another one has to ask for what there is: the store may have
// been put back to an earlier version meanwhile, and a watch that goes on from a version that is yet to come is accepted, but
// hears nothing until it has come. The Reflector returns when it wants to start over; before each attempt, list and watch wait.
func (f *follower) live(ctx context.Context, store cache.ReflectorStore) {
	ctx, end := context.WithCancel(ctx)
	silent, lists := klog.Logger{}, &gate{}
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		if !lists.enter() {
			return nil, context.Canceled
		}
		defer lists.inside.Done()
		return f.list(ctx, options)
	}
	reflector := cache.NewReflectorWithOptions(&cache.ListWatch{ListWithContextFunc: list, WatchFuncWithContext: f.watch}, nil, store,
		cache.ReflectorOptions{Name: f.target.what, TypeDescription: f.target.what, Logger: &silent, Backoff: &wait.Backoff{Duration: time.Millisecond, Steps: 1}})
	var listening sync.WaitGroup
	listening.Go(func() {
		f.untilBack(ctx, reflector)
		end()
	})
	for ctx.Err() == nil {
		if err := reflector.ListAndWatchWithContext(quiet(ctx)); err != nil {
			f.failed(err)
		}
	}
	end()
	listening.Wait()
	lists.close()
}

// untilBack returns when ctx ends, or the API server has come back and the Reflector has a past that it would go on from.
func (f *follower) untilBack(ctx context.Context, reflector *cache.Reflector) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.client.Back():
		}
		if reflector.LastSyncResourceVersion() != "" {
			return
		}
	}
}

// A gate lets in until it is closed. The Reflector does not wait for the goroutine that it lists in.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

// enter makes close wait for inside.Done. It is false when the gate is closed.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.inside.Add(1)
	}
	return !g.closed
}

// close returns when nobody is inside any more.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
}

// list lists the target once the API server lets it.
func (f *follower) list(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
	for again := options.Continue == ""; ; again = true { // the next page of a list comes at once
		if err := f.turn(ctx, again); err != nil {
			return nil, err
		}
		list := f.target.list.DeepCopyObject()
		began, cancel := context.WithTimeout(ctx, listPatience)
		result := f.request(options).Do(began)
		err := result.Error()
		if err == nil {
			err = result.Into(list)
		} else {
			err = unansweredUnlessStatus(err)
		}
		cancel()
		f.answered = err == nil
		if err == nil {
			f.fares(nil, time.Now())
			return list, nil
		}
		if f.failed(err); outdated(err) {
			return nil, err
		}
	}
}

// watch begins a watch once the API server lets it.
func (f *follower) watch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	for {
		if err := f.turn(ctx, true); err != nil {
			return nil, err
		}
		w, err := f.begin(ctx, options)
		f.answered = err == nil
		if err == nil {
			f.lives = time.Now()
			f.fares(nil, time.Now())
			return w, nil
		}
		if options.SendInitialEvents != nil && (apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)) {
			return nil, err // the server does not know how to begin a watch with a list; the Reflector lists then
		}
		if f.failed(err); outdated(err) {
			return nil, err
		}
	}
}

var (
	errSilent = errors.New("the API server has not answered for too long")
	errEnded  = errors.New("the connection ended before the API server answered")
)

// begin sends one watch request.
func (f *follower) begin(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	options.Watch = true
	living, cancel := context.WithCancelCause(ctx)
	head := time.AfterFunc(headPatience, func() { cancel(errSilent) })
	// A compressed stream costs the client 44 KiB as long as it lives, and there is one for each ConfigMap and Secret in use.
	w, err := f.request(options).SetHeader("Accept-Encoding", "identity").Watch(living)
	head.Stop()
	if err == nil && reflect.TypeOf(w) == emptyWatch {
		err = errEnded
		if l := f.client.Link().Value(); l.Err != nil {
			err = l.Err
		}
	}
	if err != nil {
		if errors.Is(context.Cause(living), errSilent) {
			err = errSilent
		}
		cancel(nil)
		return nil, unansweredUnlessStatus(err)
	}
	limit := headPatience
	if options.TimeoutSeconds != nil {
		limit = time.Duration(*options.TimeoutSeconds) * time.Second
	}
	return &stream{Interface: w, cancel: cancel, limit: time.AfterFunc(limit+watchGrace, func() { cancel(errSilent) })}, nil
}

// emptyWatch is what client-go gives instead of an error when a connection broke.
var emptyWatch = reflect.TypeOf(watch.NewEmptyWatch())

// stream is a watch that ends when its time is over.
type stream struct {
	watch.Interface
	cancel context.CancelCauseFunc
	limit  *time.Timer
}

// Stop ends the watch.
func (l *stream) Stop() {
	l.limit.Stop()
	l.Interface.Stop()
	l.cancel(nil)
}

// request returns the request that list and watch have in common. Retrying is up to turn.
func (f *follower) request(options metav1.ListOptions) *rest.Request {
	if f.target.fields != nil {
		options.FieldSelector = f.target.fields.String()
	}
	return f.client.main.groups[f.target.version].Get().Namespace(f.target.namespace).Resource(f.target.resource).
		VersionedParams(&options, f.client.codec).MaxRetries(0)
}

// outdated tells that the resource version asked for is too old or too new. The Reflector starts over without one.
func outdated(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
}

// turn waits until the next attempt may be made: at once at first and after a watch that lived, else after a growing pause, or when the API
// server has come back.
func (f *follower) turn(ctx context.Context, pace bool) error {
	if !f.lives.IsZero() && time.Since(f.lives) >= steady {
		f.free, f.pause = atOnce, 0
		f.pauses(false)
	}
	f.lives = time.Time{}
	if !pace || f.free > 0 {
		f.free--
	} else if err := f.wait(ctx); err != nil {
		return err
	}
	f.back = f.client.Back()
	return ctx.Err()
}

// pauses counts those that make pauses.
func (f *follower) pauses(on bool) {
	if on != f.paused {
		f.paused = on
		change := int64(-1)
		if on {
			change = 1
		}
		f.client.pausing.Add(change)
	}
}

// longest is how long the next pause may be.
func (f *follower) longest() time.Duration {
	if !f.answered {
		return pauses.Max
	}
	return min(max(shortLived, time.Duration(f.client.pausing.Load())*spacing), pauses.Max)
}

// wait makes a pause.
func (f *follower) wait(ctx context.Context) error {
	f.pauses(true)
	f.pause = min(pauses.Next(f.pause), f.longest())
	f.tries++
	timer := time.NewTimer(backoff.Jitter(f.pause, 0.5, fmt.Sprint(f.client.node, f.target.what, f.tries)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-f.back:
		f.pause = 0 // it may need some more moments to know who may do what
	}
	return nil
}

// failed notes why an attempt failed.
func (f *follower) failed(err error) {
	if errors.Is(err, context.Canceled) || outdated(err) {
		return
	}
	f.free = 0
	f.fares(fmt.Errorf("follow %s: %w", f.target.what, f.client.wire.explain(err)), time.Now())
}
