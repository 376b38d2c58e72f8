package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
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
	binary, dir, image string
	// endpoint is the runtime's socket.
	endpoint string
	// failed is told when the process ends though nobody asked it to.
	failed func(error)

	cmd   *exec.Cmd
	ended chan struct{}
	// leaving is closed before the process is asked to end.
	leaving chan struct{}
}

func newBosun(binary, dir, endpoint, image string, failed func(error)) (*bosun, error) {
	b := &bosun{binary: binary, dir: dir, image: image, endpoint: endpoint, failed: failed}
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
func (b *bosun) logFile() string   { return filepath.Join(b.dir, "log") }
func (b *bosun) name() string      { return "bosun" }
func (b *bosun) process() int      { return b.cmd.Process.Pid }

func (b *bosun) start(context.Context) error {
	log, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	b.cmd = exec.Command(b.binary, "run",
		"--root-dir", b.root(), "--pod-manifest-path", b.manifests(), "--container-runtime-endpoint", "unix://"+b.endpoint,
		"--cgroup-root", "/", "--fail-swap-on=false", "--fail-cgroupv1=false", "--healthz-port", "0", "--read-only-port", "10255",
		"--hostname-override", nodeName)
	b.cmd.Stdout, b.cmd.Stderr = log, log
	if err := b.cmd.Start(); err != nil {
		return err
	}
	cmd, ended, leaving := b.cmd, make(chan struct{}), make(chan struct{})
	b.ended, b.leaving = ended, leaving
	go func() {
		err := cmd.Wait()
		close(ended)
		select {
		case <-leaving:
		default:
			b.failed(fmt.Errorf("bosun ended by itself: %w", err))
		}
	}()
	return nil
}

func (b *bosun) said() string {
	text, err := os.ReadFile(b.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
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

// prepare writes manifests where the agent does not look.
func (b *bosun) prepare(pods []string) error {
	for _, pod := range pods {
		if err := os.WriteFile(b.draft(pod), fmt.Appendf(nil, manifest, pod, b.image), 0o644); err != nil {
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

// clean has nothing to do: an agent cleans up by itself.
func (b *bosun) clean([]string) error { return nil }

func (b *bosun) stop(ctx context.Context) error {
	close(b.leaving)
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	select {
	case <-b.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-late.C:
		return errors.Join(errors.New("bosun did not end within 20 s of TERM"), b.cmd.Process.Kill())
	}
}
