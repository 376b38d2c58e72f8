package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A bare agent makes the CRI calls without which there is no pod, one goroutine a pod, and does nothing else: the floor.
type bare struct {
	label   string
	client  runtimeapi.RuntimeServiceClient
	recipes map[kind]*recipe
	dir     string
	failed  func(error)

	mu    sync.Mutex
	pods  map[string]*bareObject
	calls sync.WaitGroup
}

type bareObject struct {
	*dish
	sandbox, container string
	stopTimeout        int64 // seconds
}

func newBare(label string, client runtimeapi.RuntimeServiceClient, recipes map[kind]*recipe, dir string, failed func(error)) *bare {
	return &bare{label: label, client: client, recipes: recipes, dir: dir, failed: failed, pods: map[string]*bareObject{}}
}

func (b *bare) name() string                { return b.label }
func (b *bare) process() int                { return 0 }
func (b *bare) said() string                { return "" }
func (b *bare) start(context.Context) error { return nil }

func (b *bare) stop(context.Context) error {
	b.calls.Wait()
	return nil
}

func (b *bare) there(t times) time.Time { return t.running }
func (b *bare) gone(t times) time.Time  { return t.gone }

func (b *bare) prepare(k kind, pods []string) error {
	recipe := b.recipes[k]
	for _, pod := range pods {
		d, err := recipe.serve(pod, filepath.Join(b.dir, b.label))
		if err != nil {
			return fmt.Errorf("make the recipe out for %s: %w", pod, err)
		}
		b.mu.Lock()
		b.pods[pod] = &bareObject{dish: d, stopTimeout: recipe.stopTimeout}
		b.mu.Unlock()
	}
	return nil
}

func (b *bare) add(ctx context.Context, pods []string) error    { return b.each(ctx, pods, b.run) }
func (b *bare) remove(ctx context.Context, pods []string) error { return b.each(ctx, pods, b.end) }

func (b *bare) each(ctx context.Context, pods []string, do func(context.Context, *bareObject) error) error {
	for _, pod := range pods {
		b.mu.Lock()
		object := b.pods[pod]
		b.mu.Unlock()
		b.calls.Go(func() {
			if err := do(ctx, object); err != nil {
				b.failed(fmt.Errorf("%s: pod %s: %w", b.label, pod, err))
			}
		})
	}
	return nil
}

func (b *bare) run(ctx context.Context, o *bareObject) error {
	if err := o.lay(); err != nil {
		return err
	}
	sandbox, err := b.client.RunPodSandbox(ctx, o.dish.run)
	if err != nil {
		return err
	}
	o.sandbox = sandbox.PodSandboxId
	o.create.PodSandboxId = o.sandbox
	container, err := b.client.CreateContainer(ctx, o.create)
	if err != nil {
		return err
	}
	o.container = container.ContainerId
	_, err = b.client.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: o.container})
	return err
}

func (b *bare) end(ctx context.Context, o *bareObject) error {
	if _, err := b.client.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: o.container, Timeout: o.stopTimeout}); err != nil {
		return err
	}
	if _, err := b.client.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: o.sandbox}); err != nil {
		return err
	}
	_, err := b.client.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: o.sandbox})
	return err
}

func (b *bare) clean(pods []string) error {
	b.calls.Wait() // the observer may know of the end before the last call is back
	for _, pod := range pods {
		b.mu.Lock()
		object := b.pods[pod]
		delete(b.pods, pod)
		b.mu.Unlock()
		if err := object.wash(); err != nil {
			return err
		}
	}
	return nil
}
