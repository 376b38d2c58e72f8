package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bosun-project/bosun/internal/boxruntime"
	"github.com/bosun-project/bosun/internal/testbed/controlplane"
)

// nodeName is what the only node is called.
const nodeName = "bosun"

// Patience with what takes some seconds on an idle machine.
const (
	upPatience   = 5 * time.Minute
	podsPatience = 15 * time.Second // for pods to end by themselves when the cluster goes down
	downPatience = 2 * time.Minute
)

// usualPorts are those of a cluster that kubeadm makes.
var usualPorts = controlplane.Ports{APIServer: 6443, Etcd: 2379, EtcdPeer: 2380, ControllerManager: 10257, Scheduler: 10259}

//go:embed web.yaml
var example []byte

// A keeper is the process that stays: the parent of the control plane and of Bosun.
type keeper struct {
	place
	plane *controlplane.Plane
	box   *boxruntime.Box
	node  *node
	log   *slog.Logger

	mu    sync.Mutex
	human io.Writer // whoever waits for all to be up; nil afterwards
}

// keep brings the cluster up, keeps it until SIGTERM, and takes it down.
func (p place) keep() error {
	lock, err := p.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	k := &keeper{place: p, log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	caller := os.NewFile(3, "caller")
	syscall.CloseOnExec(3) // or the caller would wait for our children
	defer caller.Close()
	k.human = caller

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err = k.bringUp(ctx)
	if err == nil {
		k.say("%s", ready)
	} else {
		k.say("%v", err)
	}
	k.mu.Lock()
	k.human = nil
	k.mu.Unlock()
	if err == nil {
		caller.Close() // after a failure it waits until all is taken down
		k.run(ctx)
	}
	return errors.Join(err, k.takeDown(err != nil))
}

// say tells the human and the log.
func (k *keeper) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	k.log.Info(text)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.human != nil {
		fmt.Fprintln(k.human, text)
	}
}

func (k *keeper) bringUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, upPatience)
	defer cancel()
	var group sync.WaitGroup
	var planeErr, boxErr error
	group.Go(func() { planeErr = k.startPlane(ctx) })
	group.Go(func() { boxErr = k.startRuntime(ctx) })
	group.Wait()
	if err := errors.Join(planeErr, boxErr); err != nil {
		return err
	}
	began := time.Now()
	var err error
	if k.node, err = k.startNode(); err != nil {
		return fmt.Errorf("start the node: %w", err)
	}
	if err := k.node.awaitReady(ctx, k.plane); err != nil {
		return err
	}
	k.say("node %s is ready (%v)", nodeName, time.Since(began).Round(10*time.Millisecond))
	if err := os.WriteFile(k.file("web.yaml"), example, 0o644); err != nil {
		return err
	}
	// Last of all: that it is there says that the cluster is up.
	admin, err := os.ReadFile(k.plane.AdminKubeconfig)
	if err != nil {
		return err
	}
	return os.WriteFile(k.file("kubeconfig"), admin, 0o600)
}

func (k *keeper) startPlane(ctx context.Context) error {
	plane, err := controlplane.Open(ctx, controlplane.Options{
		Dir: k.file("plane"), BinDir: k.bin, Ports: usualPorts,
		APIServer: []string{"--audit-log-maxsize=100", "--audit-log-maxbackup=1"}, // it may be up for days
	})
	if err != nil {
		return err
	}
	k.plane = plane
	k.say("control plane: %s (%v)", plane.URL, plane.Took.ServiceAccount.Round(10*time.Millisecond))
	return nil
}

// runtimeConfig says where the container runtime lives.
func (p place) runtimeConfig() boxruntime.Config {
	return boxruntime.Config{RuntimeDir: p.bin, Root: p.file("runtime")}
}

func (k *keeper) startRuntime(ctx context.Context) error {
	began := time.Now()
	config := k.runtimeConfig()
	config.Log = k.log
	var err error
	if k.box, err = boxruntime.Start(ctx, config); err != nil {
		return err
	}
	loaded, err := k.box.LoadImages(ctx, k.images)
	if err != nil {
		return err
	}
	var names []string
	for _, l := range loaded {
		names = append(names, l.Names...)
	}
	k.say("runtime: %s with %s (%v)", k.box.Endpoint(), strings.Join(names, ", "), time.Since(began).Round(10*time.Millisecond))
	return nil
}

// run keeps containerd and Bosun running until ctx is done. Whatever else ends is told in the log.
func (k *keeper) run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		if err := k.box.Supervise(ctx); err != nil {
			k.log.Error("the container runtime is no longer watched", "err", err)
		}
	})
	group.Go(func() { k.plane.ApproveServing(ctx) })
	k.node.keepRunning(ctx, k.log)
}

// takeDown ends everything and removes what it made, but for logs that must explain a failure.
func (k *keeper) takeDown(keepLogs bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), downPatience)
	defer cancel()
	_ = os.Remove(k.file("kubeconfig")) // from now on nobody shall believe that it is up
	var errs []error
	if k.plane != nil && k.node != nil {
		if err := k.endPods(ctx); err != nil {
			k.log.Warn("the pods did not end by themselves; they are killed", "err", err)
		}
	}
	if k.node != nil {
		errs = append(errs, k.node.end())
	}
	if k.plane != nil {
		errs = append(errs, k.plane.Stop())
	}
	return errors.Join(append(errs, k.remove(ctx, keepLogs))...)
}
