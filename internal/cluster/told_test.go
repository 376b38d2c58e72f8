package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/cluster"
)

// told gathers what a Follow function tells, and waits for it.
type told[T any] struct {
	t     *testing.T
	mu    sync.Mutex
	all   []cluster.Listing[T]
	newer chan struct{}
	stop  func()
	// patience is how long until waits.
	patience time.Duration
}

func (c *told[T]) tell(l cluster.Listing[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, l)
	close(c.newer)
	c.newer = make(chan struct{})
}

func (c *told[T]) newest() (cluster.Listing[T], <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.all) == 0 {
		return cluster.Listing[T]{}, c.newer
	}
	return c.all[len(c.all)-1], c.newer
}

// until waits for a listing that is as wanted.
func (c *told[T]) until(what string, wanted func(cluster.Listing[T]) bool) cluster.Listing[T] {
	c.t.Helper()
	deadline := time.After(c.patience)
	for {
		l, newer := c.newest()
		if wanted(l) {
			return l
		}
		select {
		case <-newer:
		case <-deadline:
			c.t.Fatalf("no listing with %s; the newest is %+v", what, l)
		}
	}
}

// names waits until exactly these objects are there.
func (c *told[T]) names(names ...string) cluster.Listing[T] {
	c.t.Helper()
	return c.until(fmt.Sprint("objects ", names), func(l cluster.Listing[T]) bool {
		var have []string
		for _, o := range l.Objects {
			have = append(have, any(o).(metav1.Object).GetName())
		}
		return l.Synced && slices.Equal(have, names)
	})
}

// following runs a Follow function until the test ends, and fails if it does not end with its context.
func following[T any](t *testing.T, follow func(context.Context, func(cluster.Listing[T]))) *told[T] {
	ctx, cancel := context.WithCancel(context.Background())
	c := &told[T]{t: t, newer: make(chan struct{}), patience: 2 * time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		follow(ctx, c.tell)
	}()
	c.stop = func() {
		cancel()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Error("the Follow function runs on after its context has ended")
		}
	}
	t.Cleanup(c.stop)
	return c
}

func followPods(s *apiServer) *told[*corev1.Pod] { return following(s.t, s.client().FollowPods) }
