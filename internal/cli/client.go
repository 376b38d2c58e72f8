package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/bosun-project/bosun/internal/names"
)

// SocketName is the name of the admin socket in the agent's state directory.
const SocketName = "bosun.sock"

// readOnlyServer answers those who may not open the socket.
const readOnlyServer = "http://127.0.0.1:10255"

// usualSockets are where an agent's socket is if nothing else is said: that of a kubelet, that of `bosun up`.
func usualSockets() []string {
	return []string{filepath.Join(names.DefaultRootDir, SocketName), filepath.Join("/var/lib/bosun", SocketName)}
}

// places is where to look for the agent.
type places struct {
	sockets []string
	// web is the read-only server; empty if it may not stand in.
	web string
}

// agent is the running agent that commands ask.
type agent struct {
	client *http.Client
	base   string
	// dial connects to it; set for a socket only, which alone lets commands be run.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// find finds the running agent.
func (p places) find(ctx context.Context) (*agent, error) {
	var denied error
	for _, socket := range p.sockets {
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
		conn, err := dial(ctx, "", "")
		if err == nil {
			_ = conn.Close()
			return &agent{client: &http.Client{Transport: &http.Transport{DialContext: dial}}, base: "http://bosun", dial: dial}, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, fs.ErrPermission) {
			denied = err
		}
	}
	if p.web != "" {
		a := &agent{client: &http.Client{Transport: &http.Transport{}}, base: p.web}
		if a.alive(ctx) {
			return a, nil
		}
	}
	if denied != nil {
		return nil, fmt.Errorf("the agent's socket may be opened by root only: %w; try it with sudo", denied)
	}
	where := strings.Join(p.sockets, " or ")
	if p.web != "" {
		where += " or " + p.web
	}
	return nil, fmt.Errorf("no agent answers at %s: start one with `bosun up PATH|URL` or `bosun run`, or say with --socket where it is", where)
}

// alive tells whether a Bosun answers there; it may as well be an upstream kubelet.
func (a *agent) alive(ctx context.Context) bool {
	r, err := a.open(ctx, "/debug/pulls", nil)
	if err != nil {
		return false
	}
	_ = r.Close()
	return true
}

// open asks for something and returns the answer's body. Other answers than 200 are errors with the agent's words.
func (a *agent) open(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	at := a.base + path
	if len(query) > 0 {
		at += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the agent: %w", err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	const enough = 4096
	text, err := io.ReadAll(io.LimitReader(answer.Body, enough))
	if err != nil || len(text) == 0 {
		return nil, fmt.Errorf("ask the agent for %s: %s", path, answer.Status)
	}
	return nil, errors.New(clean(strings.TrimSpace(string(text))))
}

// read asks for JSON.
func (a *agent) read(ctx context.Context, path string, into any) error {
	body, err := a.open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("read the agent's answer for %s: %w", path, err)
	}
	return nil
}

// clean takes control characters out of words of others, which could play tricks on a terminal.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// socketFromEnvironment is the socket that BOSUN_SOCKET names.
func socketFromEnvironment() string { return os.Getenv("BOSUN_SOCKET") }
