package testbed

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const registryConfig = `version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: DIR}}
http: {net: unix, addr: DIR/socket, relativeurls: true}
`

// A Registry is a real image registry behind a small proxy on loopback, which the bed's containerd may use over
// plain HTTP.
type Registry struct {
	Host string // such as 127.0.0.1:40001; images are Host/REPOSITORY:TAG

	images string
	direct *http.Client // past the proxy
}

// StartRegistry starts an empty registry that ends with the test. With wrap, every request of containerd goes through the handler
// that wrap makes around the registry: to ask for credentials, to count, to hang, to answer nonsense.
func (b *Bed) StartRegistry(tb testing.TB, wrap func(http.Handler) http.Handler) *Registry {
	tb.Helper()
	r, end, err := b.openRegistry(wrap)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(end)
	if err := b.AllowHTTP(r.Host); err != nil {
		tb.Fatal(err)
	}
	return r
}

// openRegistry starts a registry, and returns what ends it.
func (b *Bed) openRegistry(wrap func(http.Handler) http.Handler) (*Registry, func(), error) {
	dir, err := os.MkdirTemp(b.Dir, "registry")
	if err != nil {
		return nil, nil, err
	}
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(registryConfig, "DIR", dir)), 0o644); err != nil {
		return nil, nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(b.BinDir, "registry"), "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	kill := func() {
		_ = cmd.Process.Kill() // it may be gone with the bed
		_ = cmd.Wait()
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "socket"))
	}
	if err := awaitDial(context.Background(), dial); err != nil {
		kill()
		said, _ := os.ReadFile(log.Name()) // only to say more
		return nil, nil, fmt.Errorf("registry: %w; it said:\n%s", err, said)
	}
	transport := &http.Transport{DialContext: dial}
	var handler http.Handler = &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: r.In.Host})
	}}
	if wrap != nil {
		handler = wrap(handler)
	}
	front := httptest.NewServer(handler)
	r := &Registry{
		Host:   front.Listener.Addr().String(),
		images: filepath.Join(filepath.Dir(b.BinDir), "images"),
		direct: &http.Client{Transport: transport, Timeout: startDeadline},
	}
	return r, func() {
		front.CloseClientConnections() // one may hang on purpose
		front.Close()
		transport.CloseIdleConnections()
		kill()
	}, nil
}

// AllowHTTP tells the runtime to speak plain HTTP with the registry at host.
func (b *Bed) AllowHTTP(host string) error {
	if OnCRIO() {
		return b.allowHTTP(host)
	}
	dir := filepath.Join(b.CertsDir, host)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text := fmt.Sprintf("server = 'http://%s'\n[host.'http://%s']\ncapabilities = ['pull', 'resolve']\n", host, host)
	return os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(text), 0o644)
}

// awaitDial tries until the server accepts: it has no way to say that it is ready.
func awaitDial(ctx context.Context, dial func(context.Context, string, string) (net.Conn, error)) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	for {
		conn, err := dial(ctx, "", "")
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Push puts an image of `make images` (such as "busybox") into the registry as repository:tag, and returns the
// reference that containers use.
func (r *Registry) Push(image, repository, tag string) (string, error) {
	files, only, err := r.read(image)
	if err != nil {
		return "", err
	}
	ref := r.Host + "/" + repository + ":" + tag
	manifest := only.in(files)
	var parts struct {
		MediaType string
		Config    blobRef
		Layers    []blobRef
	}
	if err := json.Unmarshal(manifest, &parts); err != nil {
		return "", fmt.Errorf("image %s: manifest: %w", image, err)
	}
	base := "http://" + r.Host + "/v2/" + repository
	for _, part := range append(parts.Layers, parts.Config) {
		if err := r.pushBlob(base, part.Digest, part.in(files)); err != nil {
			return "", fmt.Errorf("push %s: %w", ref, err)
		}
	}
	if _, err := r.send(http.MethodPut, base+"/manifests/"+tag, parts.MediaType, manifest); err != nil {
		return "", fmt.Errorf("push %s: %w", ref, err)
	}
	return ref, nil
}

// pushOwn puts an image into the registry under the name that it has in `make images`, and returns that.
func (r *Registry) pushOwn(image string) (string, error) {
	_, only, err := r.read(image)
	if err != nil {
		return "", err
	}
	name := only.Annotations["io.containerd.image.name"]
	_, path, _ := strings.Cut(name, "/")
	repository, tag, ok := strings.Cut(path, ":")
	if !ok {
		return "", fmt.Errorf("image %s: want a name such as docker.io/library/%s:latest, have %q", image, image, name)
	}
	_, err = r.Push(image, repository, tag)
	return name, err
}

// read returns the files of an image of `make images`, and its manifest.
func (r *Registry) read(image string) (map[string][]byte, blobRef, error) {
	files, err := readTar(filepath.Join(r.images, image+".tar"))
	if err != nil {
		return nil, blobRef{}, err
	}
	var index struct{ Manifests []blobRef }
	if err := json.Unmarshal(files["index.json"], &index); err != nil || len(index.Manifests) != 1 {
		return nil, blobRef{}, fmt.Errorf("image %s: want one manifest: %w", image, err)
	}
	return files, index.Manifests[0], nil
}

type blobRef struct {
	Digest      string
	Annotations map[string]string
}

func (b blobRef) in(files map[string][]byte) []byte {
	return files["blobs/"+strings.Replace(b.Digest, ":", "/", 1)]
}

func (r *Registry) pushBlob(base, digest string, data []byte) error {
	at, err := r.send(http.MethodPost, base+"/blobs/uploads/", "", nil)
	if err != nil {
		return err
	}
	query := at.Query()
	query.Set("digest", digest)
	at.RawQuery = query.Encode()
	_, err = r.send(http.MethodPut, at.String(), "application/octet-stream", data)
	return err
}

// send makes one request and returns where the registry says to go on.
func (r *Registry) send(method, target, mediaType string, body []byte) (*url.URL, error) {
	req, err := http.NewRequest(method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	resp, err := r.direct.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		said, _ := io.ReadAll(resp.Body) // only to say more
		return nil, fmt.Errorf("%s %s: %s: %s", method, target, resp.Status, said)
	}
	return resp.Location()
}

func readTar(path string) (map[string][]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	files := map[string][]byte{}
	tr := tar.NewReader(f)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if files[h.Name], err = io.ReadAll(tr); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	}
}
