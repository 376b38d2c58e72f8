package stock

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/bosun-project/bosun/internal/allocate"
	"github.com/bosun-project/bosun/internal/fault"
)

// answer is what a plugin has said to a question.
type answer struct {
	key string
	ids []string
}

// mostAnswers bounds how many answers are kept: each is asked for by a pod that waits for it.
const mostAnswers = 64

// Prefer is what the plugin of a resource has answered to a question. If it was not asked yet, it will be, and Supplies is set anew
// when it has answered. A plugin that does not know has answered nothing.
func (l *Loop) Prefer(q allocate.Question) ([]string, bool) {
	key := q.Key()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.answers {
		if a.key == key {
			return a.ids, true
		}
	}
	if !l.asked[key] {
		l.asked[key] = true
		l.questions = append(l.questions, q)
		l.wake()
	}
	return nil, false
}

// open are the questions that were not put to plugins yet.
func (l *Loop) open() []allocate.Question {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.questions
	l.questions = nil
	return all
}

// ask puts a question to a plugin.
func (l *Loop) ask(ctx context.Context, q allocate.Question) {
	var ids []string
	var err error
	if s := l.server(q.Resource); s != nil {
		if ids, err = s.plugin.Prefer(ctx, q); err != nil && ctx.Err() == nil {
			l.cfg.Log.Warn("a device plugin does not say which devices it prefers; others are taken", "resource", q.Resource, "socket", s.socket, "err", err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.asked, q.Key())
	l.answers = append(l.answers, answer{q.Key(), ids})
	if len(l.answers) > mostAnswers {
		l.answers = slices.Delete(l.answers, 0, len(l.answers)-mostAnswers)
	}
	l.publish()
}

// server is the plugin that serves a resource; nil if none does.
func (l *Loop) server(resource string) *server {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.resources[resource]; r != nil {
		return r.server
	}
	return nil
}

// Take has the plugins hand out what belongs to the devices of a pod. The error is fault.ErrUnavailable if one is away, and
// fault.ErrNotFound if a device is not there any more.
func (l *Loop) Take(ctx context.Context, p *v1.Pod, a *allocate.Assigned) (*allocate.Handed, error) {
	out := &allocate.Handed{Boot: l.cfg.Boot, Containers: map[string]allocate.Artifacts{}}
	for _, list := range [][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			name := list[i].Name
			devices := a.Part(name).Devices
			for _, resource := range slices.Sorted(maps.Keys(devices)) {
				got, err := l.take(ctx, resource, devices[resource])
				if err != nil {
					l.cfg.Log.Warn("a device plugin hands out nothing", "resource", resource, "devices", devices[resource],
						"pod", p.Namespace+"/"+p.Name, "container", name, "err", err)
					return nil, err
				}
				out.Containers[name] = out.Containers[name].Add(got)
			}
		}
	}
	return out, nil
}

func (l *Loop) take(ctx context.Context, resource string, ids []string) (allocate.Artifacts, error) {
	s := l.server(resource)
	if s == nil {
		return allocate.Artifacts{}, fault.As(fault.ErrUnavailable, fmt.Errorf("the device plugin of %s is away", resource))
	}
	supply := l.supplies.Value().Known[resource]
	for _, id := range ids {
		device, known := supply.Devices[id]
		lost := fmt.Errorf("previously allocated devices are no longer healthy; cannot allocate unhealthy devices %s", resource)
		switch {
		case !known:
			return allocate.Artifacts{}, fault.As(fault.ErrNotFound, lost)
		case !device.Healthy: // it may get well
			return allocate.Artifacts{}, fault.As(fault.ErrUnavailable, lost)
		}
	}
	began := time.Now()
	got, err := s.plugin.Allocate(ctx, ids)
	if l.cfg.Took != nil {
		l.cfg.Took(resource, time.Since(began))
	}
	if err != nil {
		return allocate.Artifacts{}, err
	}
	if s.preStart {
		got.PreStart = []string{resource}
	}
	return got, nil
}

// Prepare tells the plugin of a resource that a container with these devices is about to be started.
func (l *Loop) Prepare(ctx context.Context, p *v1.Pod, container, resource string, ids []string) error {
	s := l.server(resource)
	if s == nil {
		return fault.As(fault.ErrUnavailable, fmt.Errorf("the device plugin of %s is away, which has to prepare its devices for container %s", resource, container))
	}
	if err := s.plugin.PreStart(ctx, ids); err != nil {
		l.cfg.Log.Warn("a device plugin does not prepare devices", "resource", resource, "devices", ids, "pod", p.Namespace+"/"+p.Name, "container", container, "err", err)
		return fmt.Errorf("prepare the devices of %s for container %s: %w", resource, container, err)
	}
	return nil
}
