package boxruntime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// answerTimeout is how long a runtime may take to say its version.
const answerTimeout = 2 * time.Second

// Usual lists where runtimes commonly listen, most common first. The runtimes of k3s, k0s and the like are not among
// them: they have a kubelet of their own.
func Usual() []string {
	return []string{
		"unix:///run/containerd/containerd.sock",
		"unix:///run/crio/crio.sock",
		"unix:///run/cri-dockerd.sock",
	}
}

// Answer is what a runtime says about itself.
type Answer struct {
	Endpoint string
	// Name is "containerd", "cri-o", "docker"; Version is the runtime's own.
	Name, Version string
}

// Answers asks the runtime behind endpoint ("unix:///path" or a path) for its version through CRI, for at most two
// seconds. The error says in plain words why there is no answer.
func Answers(ctx context.Context, endpoint string) (Answer, error) {
	path, err := socketPath(endpoint)
	if err != nil {
		return Answer{}, err
	}
	if info, err := os.Stat(path); err != nil {
		return Answer{}, fmt.Errorf("ask the runtime at %s: %w", endpoint, err)
	} else if info.Mode()&os.ModeSocket == 0 {
		return Answer{}, fmt.Errorf("ask the runtime at %s: this is not a socket", endpoint)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return ask(ctx, path)
}

// NotReady asks the runtime behind endpoint what it is not ready for: "RuntimeReady: why", "NetworkReady: why". Nothing
// means that it can run pods.
func NotReady(ctx context.Context, endpoint string) ([]string, error) {
	path, err := socketPath(endpoint)
	if err != nil {
		return nil, err
	}
	conn, err := connect(path)
	if err != nil {
		return nil, fmt.Errorf("ask the runtime at %s: %w", endpoint, err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	answer, err := cri.NewRuntimeServiceClient(conn).Status(ctx, &cri.StatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("ask the runtime at %s how it is: %w", endpoint, err)
	}
	var lacking []string
	for _, c := range answer.GetStatus().GetConditions() {
		if !c.GetStatus() && (c.GetType() == "RuntimeReady" || c.GetType() == "NetworkReady") {
			lacking = append(lacking, strings.TrimSuffix(c.GetType()+": "+c.GetMessage(), ": "))
		}
	}
	return lacking, nil
}

// FirstAnswer returns the first of endpoints that answers, in their order. The error joins why each did not.
func FirstAnswer(ctx context.Context, endpoints []string) (Answer, error) {
	type result struct {
		answer Answer
		err    error
	}
	results := make([]chan result, len(endpoints))
	for i, endpoint := range endpoints {
		results[i] = make(chan result, 1)
		go func() {
			answer, err := Answers(ctx, endpoint)
			results[i] <- result{answer, err}
		}()
	}
	var first Answer
	var errs []error
	for _, c := range results {
		r := <-c
		if r.err != nil {
			errs = append(errs, r.err)
		} else if first == (Answer{}) {
			first = r.answer
		}
	}
	if first != (Answer{}) {
		return first, nil
	}
	return Answer{}, errors.Join(errs...)
}

// socketPath is the file behind an endpoint.
func socketPath(endpoint string) (string, error) {
	path := strings.TrimPrefix(endpoint, "unix://")
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("runtime endpoint %q: want unix:///PATH or an absolute path", endpoint)
	}
	return filepath.Clean(path), nil
}

// connect opens a CRI connection. Nothing is sent before the first call.
func connect(path string) (*grpc.ClientConn, error) {
	// A local socket is there or not; a retry is cheap, the default of one second and more is for networks.
	quick := backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond}
	return grpc.NewClient("unix://"+path,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: quick}))
}

// ask makes the Version call.
func ask(ctx context.Context, path string, opts ...grpc.CallOption) (Answer, error) {
	conn, err := connect(path)
	if err != nil {
		return Answer{}, fmt.Errorf("ask the runtime at %s: %w", path, err)
	}
	defer func() { _ = conn.Close() }()
	v, err := cri.NewRuntimeServiceClient(conn).Version(ctx, &cri.VersionRequest{}, opts...)
	switch {
	case status.Code(err) == codes.Unimplemented:
		return Answer{}, fmt.Errorf("ask the runtime at %s: it does not offer CRI (Docker's containerd has it switched off: remove \"cri\" from disabled_plugins in its config.toml): %w", path, err)
	case err != nil:
		return Answer{}, fmt.Errorf("ask the runtime at %s for its version: %w", path, err)
	}
	return Answer{Endpoint: "unix://" + path, Name: v.GetRuntimeName(), Version: v.GetRuntimeVersion()}, nil
}
