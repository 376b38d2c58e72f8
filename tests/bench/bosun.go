package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// manifest is the pod of all measurements. Its container is a process that does nothing and ends at once on TERM.
const manifest = `apiVersion: v1
kind: Pod
metadata:
  name: %s
  namespace: default
  labels: {app: bench}
spec:
  containers:
  - name: main
    image: %s
    imagePullPolicy: IfNotPresent
`

const nodeName = "bench"

// A bosun is Bosun as its users run it, with pods from files.
type bosun struct {
	program
	dir, image string
	// endpoint is the runtime's socket.
	endpoint string
}

func newBosun(binary, dir, endpoint, image string, failed func(error)) (*bosun, error) {
	b := &bosun{program: program{label: "bosun", binary: binary, log: filepath.Join(dir, "log"), failed: failed}, dir: dir, image: image, endpoint: endpoint}
	for _, d := range []string{b.root(), b.manifests(), b.drafts()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *bosun) root() string      { return filepath.Join(b.dir, "root") }
func (b *bosun) manifests() string { return filepath.Join(b.dir, "manifests") }
func (b *bosun) drafts() string    { return filepath.Join(b.dir, "drafts") }

func (b *bosun) start(context.Context) error {
	return b.launch("run",
		"--root-dir", b.root(), "--pod-manifest-path", b.manifests(), "--container-runtime-endpoint", "unix://"+b.endpoint,
		"--cgroup-root", "/", "--fail-swap-on=false", "--fail-cgroupv1=false", "--healthz-port", "0", "--read-only-port", "10255",
		"--hostname-override", nodeName)
}

// prepare writes manifests where the agent does not look.
func (b *bosun) prepare(_ kind, pods []string) error {
	for _, pod := range pods {
		if err := os.WriteFile(b.draft(pod), fmt.Appendf(nil, manifest, pod, b.image), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// add moves manifests into the directory, each whole at once.
func (b *bosun) add(_ context.Context, pods []string) error {
	for _, pod := range pods {
		if err := os.Rename(b.draft(pod), b.file(pod)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bosun) draft(pod string) string { return filepath.Join(b.drafts(), pod+".yaml") }
func (b *bosun) file(pod string) string  { return filepath.Join(b.manifests(), pod+".yaml") }

func (b *bosun) remove(_ context.Context, pods []string) error {
	for _, pod := range pods {
		if err := os.Remove(b.file(pod)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bosun) there(t times) time.Time { return t.running }
func (b *bosun) gone(t times) time.Time  { return t.gone }

// clean has nothing to do: an agent cleans up by itself.
func (b *bosun) clean([]string) error { return nil }
