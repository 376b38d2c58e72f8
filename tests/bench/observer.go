package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// times say when the observer heard of what happened to one pod.
type times struct {
	sandbox time.Time // the sandbox runs
	created time.Time // the container is there
	running time.Time // the container runs
	stopped time.Time // the container has ended
	gone    time.Time // neither sandbox nor container is left

	ready   time.Time // the API server says that the pod is Ready
	deleted time.Time // the API server has it no more
}

// An observer follows the runtime's event stream and, in a cluster, the API server's pods. It knows nothing of agents, and
// takes no part.
type observer struct {
	mu     sync.Mutex
	pods   map[string]*seen  // by pod name
	owners map[string]string // object ID: pod name
	newer  chan struct{}     // closed when there is news
}

type seen struct {
	times
	left map[string]bool // sandboxes and containers that are there
}

func newObserver() *observer {
	return &observer{pods: map[string]*seen{}, owners: map[string]string{}, newer: make(chan struct{})}
}

// follow reads events until ctx ends; it tells of any other end.
func (o *observer) follow(ctx context.Context, client runtimeapi.RuntimeServiceClient) error {
	stream, err := client.GetContainerEvents(ctx, &runtimeapi.GetEventsRequest{})
	for err == nil {
		var e *runtimeapi.ContainerEventResponse
		if e, err = stream.Recv(); err == nil {
			o.hear(e, time.Now())
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("follow the runtime's events: %w", err)
}

func (o *observer) hear(e *runtimeapi.ContainerEventResponse, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	pod := o.owners[e.ContainerId]
	if name := e.PodSandboxStatus.GetMetadata().GetName(); name != "" {
		pod = strings.TrimSuffix(name, "-"+nodeName) // agents add it to the names of pods from files
	}
	if pod == "" {
		return
	}
	o.owners[e.ContainerId] = pod
	o.seen(pod).hear(e, now)
	if e.ContainerEventType == runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT {
		delete(o.owners, e.ContainerId)
	}
	o.tell()
}

// hearPod takes what a watch of pods tells.
func (o *observer) hearPod(e watch.Event, now time.Time) {
	pod, ok := e.Object.(*v1.Pod)
	if !ok {
		return // a bookmark or an error: the watch begins anew
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.seen(pod.Name)
	switch {
	case e.Type == watch.Deleted:
		s.deleted = now
	case s.ready.IsZero() && isReady(pod):
		s.ready = now
	default:
		return
	}
	o.tell()
}

func isReady(pod *v1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c v1.PodCondition) bool {
		return c.Type == v1.PodReady && c.Status == v1.ConditionTrue
	})
}

// seen is what is known of a pod. The lock is held.
func (o *observer) seen(pod string) *seen {
	s := o.pods[pod]
	if s == nil {
		s = &seen{left: map[string]bool{}}
		o.pods[pod] = s
	}
	return s
}

// tell wakes who waits. The lock is held.
func (o *observer) tell() {
	close(o.newer)
	o.newer = make(chan struct{})
}

func (s *seen) hear(e *runtimeapi.ContainerEventResponse, now time.Time) {
	isSandbox := e.ContainerId == e.PodSandboxStatus.GetId()
	switch e.ContainerEventType {
	case runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT:
		s.left[e.ContainerId] = true
		if !isSandbox {
			s.created = now
		}
	case runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT:
		if isSandbox {
			s.sandbox = now
		} else {
			s.running = now
		}
	case runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT:
		if !isSandbox && s.stopped.IsZero() {
			s.stopped = now
		}
	case runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT:
		delete(s.left, e.ContainerId)
		if len(s.left) == 0 {
			s.gone = now
		}
	}
}

// times are those of one pod so far.
func (o *observer) times(pod string) times {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen(pod).times
}

// patience is far above what anything here takes.
const patience = 60 * time.Second

// await returns the pods' times when each of them has the one that is waited for.
func (o *observer) await(ctx context.Context, pods []string, when func(times) time.Time) ([]times, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not all of %d pods, first %s, got there within %v", len(pods), pods[0], patience))
	defer cancel()
	for {
		o.mu.Lock()
		newer := o.newer
		found := make([]times, 0, len(pods))
		for _, pod := range pods {
			if s := o.pods[pod]; s != nil && !when(s.times).IsZero() {
				found = append(found, s.times)
			}
		}
		o.mu.Unlock()
		if len(found) == len(pods) {
			return found, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-newer:
		}
	}
}
