package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	protocol "k8s.io/kubelet/pkg/apis/credentialprovider/v1"
)

const (
	// maxAnswer bounds what a provider may say, in bytes.
	maxAnswer = 1 << 20
	// maxComplaint bounds what is repeated of a provider's error output, in bytes.
	maxComplaint = 512
	// pipeDelay is how long output may stay open after the provider ended or was killed.
	pipeDelay = 2 * time.Second
)

// execute runs a provider: the request on its standard input, the response on its standard output.
func execute(ctx context.Context, p *provider, q question) (answer, error) {
	request, err := json.Marshal(&protocol.CredentialProviderRequest{
		TypeMeta: metav1.TypeMeta{APIVersion: p.apiVersion, Kind: "CredentialProviderRequest"},
		Image:    q.image, ServiceAccountToken: q.token, ServiceAccountAnnotations: q.annotations,
	})
	if err != nil {
		return answer{}, err
	}
	stdout, stderr := &bounded{left: maxAnswer}, &bounded{left: maxComplaint}
	cmd := exec.CommandContext(ctx, p.path, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(request), stdout, stderr
	cmd.WaitDelay = pipeDelay
	// Its own process group, so that what it started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return answer{}, fmt.Errorf("no answer after %v: %w", providerTimeout, ctx.Err())
		}
		if said, _, _ := strings.Cut(Scrub(stderr.kept.String(), Login{RegistryToken: q.token}), "\n"); said != "" {
			return answer{}, fmt.Errorf("%w: %s", err, said)
		}
		return answer{}, err
	}
	if stdout.over {
		return answer{}, errors.New("the response is larger than 1 MiB")
	}
	return parseAnswer(stdout.kept.Bytes(), p)
}

// parseAnswer reads a response. What is in it is never repeated in an error.
func parseAnswer(data []byte, p *provider) (answer, error) {
	if _, err := members(data); err != nil {
		return answer{}, fmt.Errorf("the response %w", err)
	}
	var r protocol.CredentialProviderResponse
	if err := json.Unmarshal(data, &r); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return answer{}, fmt.Errorf("the response's field %s has the wrong type; it must be a %v", wrong.Field, wrong.Type)
		}
		return answer{}, errors.New("the response has a malformed field")
	}
	if r.APIVersion != p.apiVersion || r.Kind != "CredentialProviderResponse" {
		return answer{}, fmt.Errorf("the response is %q, %q; it must be CredentialProviderResponse of %s", tidy(r.APIVersion), tidy(r.Kind), p.apiVersion)
	}
	a := answer{kind: r.CacheKeyType, keep: p.defaultCache}
	kinds := []protocol.PluginCacheKeyType{protocol.ImagePluginCacheKeyType, protocol.RegistryPluginCacheKeyType, protocol.GlobalPluginCacheKeyType}
	if !slices.Contains(kinds, r.CacheKeyType) {
		return answer{}, fmt.Errorf("the response's cacheKeyType is %q; it must be Image, Registry or Global", tidy(string(r.CacheKeyType)))
	}
	if r.CacheDuration != nil {
		a.keep = r.CacheDuration.Duration
	}
	names := make([]string, 0, len(r.Auth))
	for name := range r.Auth {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		pattern, err := parsePattern(name)
		if err != nil {
			return answer{}, fmt.Errorf("the response's auth[%s] %w", showName(name), err)
		}
		a.entries = append(a.entries, entry{pattern, Login{Username: r.Auth[name].Username, Password: r.Auth[name].Password}})
	}
	return a, nil
}

// bounded keeps the beginning of what is written to it and swallows the rest, so that the writer is not held up.
type bounded struct {
	kept bytes.Buffer // not embedded: its ReadFrom would pass the bound by
	left int
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	take := min(len(p), b.left)
	b.over = b.over || take < len(p)
	b.left -= take
	b.kept.Write(p[:take])
	return len(p), nil
}
