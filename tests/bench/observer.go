package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// times say when the observer heard of what happened to one pod.
type times struct {
	sandbox time.Time // the sandbox runs
	created time.Time // the container is there
	running time.Time // the container runs
	stopped time.Time // the container has ended
	gone    time.Time // neither sandbox nor container is left
}

// An observer follows the runtime's event stream. It knows nothing of agents, and takes no part.
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
	s := o.pods[pod]
	if s == nil {
		s = &seen{left: map[string]bool{}}
		o.pods[pod] = s
	}
	o.owners[e.ContainerId] = pod
	s.hear(e, now)
	if e.ContainerEventType == runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT {
		delete(o.owners, e.ContainerId)
	}
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

func isRunning(t times) bool { return !t.running.IsZero() }
func isGone(t times) bool    { return !t.gone.IsZero() }

// patience is far above what anything here takes.
const patience = 60 * time.Second

// await returns the pods' times when all of them are there.
func (o *observer) await(ctx context.Context, pods []string, there func(times) bool) ([]times, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not all of %d pods, first %s, got there within %v", len(pods), pods[0], patience))
	defer cancel()
	for {
		o.mu.Lock()
		newer := o.newer
		found := make([]times, 0, len(pods))
		for _, pod := range pods {
			if s := o.pods[pod]; s != nil && there(s.times) {
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
