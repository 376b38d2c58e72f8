package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
)

// profileSeconds is how long an agent is looked at in a turn.
const profileSeconds = 12

// profile begins to take a CPU profile of an agent, if that is wanted and the agent is a node of a cluster. The function it
// returns waits for the end of it.
func (b *bench) profile(ctx context.Context, a agent) (wait func() error) {
	m, ok := a.(*member)
	if !ok || b.options.profile == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- m.profile(ctx, b.options.profile) }()
	return func() error { return <-done }
}

// profile asks the node for profiles as the API server's administrator may: of the CPU time, and then of what was allocated.
func (m *member) profile(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	config, err := m.plane.RESTConfig()
	if err != nil {
		return err
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, m.node+time.Now().Format("-150405"))
	for _, kind := range []string{fmt.Sprintf("profile?seconds=%d", profileSeconds), "allocs"} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+":10250/debug/pprof/"+kind, nil)
		if err != nil {
			return err
		}
		if err := fetch(&http.Client{Transport: transport}, request, file+"."+kind[:6]); err != nil {
			return fmt.Errorf("profile %s: %w", m.label, err)
		}
	}
	return nil
}

// fetch writes an answer to a file.
func fetch(client *http.Client, request *http.Request, file string) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, body)
	}
	return os.WriteFile(file, body, 0o644)
}
