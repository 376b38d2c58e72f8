package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bosun-project/bosun/internal/boxruntime"
	"github.com/bosun-project/bosun/internal/keep"
	"github.com/bosun-project/bosun/internal/testbed"
)

// down tells the keeper to end and waits for it; then, whether there was one or not, it removes what is left.
func (p place) down() error {
	pid, err := p.keeper()
	if err != nil {
		return err
	}
	if pid == 0 {
		if _, err := os.Stat(p.dir); errors.Is(err, os.ErrNotExist) {
			fmt.Println("The cluster is not up.")
			return nil
		}
		fmt.Println("The cluster is not up; removing what is left of it.")
	} else {
		fmt.Println("ending pods, node, runtime and control plane")
		if err := endAndWait(pid, podsPatience+downPatience); err != nil {
			return fmt.Errorf("%w; its log is %s", err, p.file("keeper.log"))
		}
	}
	if err := p.sweep(); err != nil {
		return err
	}
	if err := os.RemoveAll(p.dir); err != nil {
		return err
	}
	fmt.Println("The cluster is gone.")
	return nil
}

// endAndWait sends SIGTERM and waits for the end.
func endAndWait(pid int, patience time.Duration) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGTERM, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end process %d: %w", pid, err)
	}
	deadline := time.Now().Add(patience)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(0, time.Until(deadline)).Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for process %d: %w", pid, err)
		case n == 0:
			return fmt.Errorf("process %d has not ended after %v", pid, patience)
		default:
			return nil
		}
	}
}

// endPods deletes the node's pods and waits until they are gone. Nobody makes new ones meanwhile.
func (k *keeper) endPods(ctx context.Context) error {
	if err := k.plane.StopControllers(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, podsPatience)
	defer cancel()
	client := k.plane.Client().CoreV1()
	ours := metav1.ListOptions{FieldSelector: "spec.nodeName=" + nodeName}
	first := true
	for {
		pods, err := client.Pods("").List(ctx, ours)
		if err != nil {
			return err
		}
		if len(pods.Items) == 0 {
			return nil
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			if !first && pod.DeletionTimestamp != nil {
				continue
			}
			grace := int64(podsPatience/time.Second) - 5
			if own := pod.Spec.TerminationGracePeriodSeconds; own != nil {
				grace = min(grace, *own)
			}
			if err := client.Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &grace}); err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
		first = false
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d pods are left: %w", len(pods.Items), ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// sweep removes what is left when no keeper lives: a keeper's children die with it, but containers do not.
func (p place) sweep() error {
	if _, err := os.Stat(p.dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), downPatience)
	defer cancel()
	return p.remove(ctx, false)
}

// remove takes away the runtime with all containers, mounts, cgroups and files. Only the lock and the keeper's log stay, and
// with keepLogs those of the parts.
func (p place) remove(ctx context.Context, keepLogs bool) error {
	if err := boxruntime.Purge(ctx, p.runtimeConfig()); err != nil {
		return err
	}
	errs := []error{testbed.UnmountBelow(p.dir), testbed.RemoveCgroups(cgroupRoot), p.restoreSysctls()}
	if kept, ok := keep.InMemory(p.file("node")); ok { // what the node keeps for times without the API server
		errs = append(errs, os.RemoveAll(kept))
	}
	for _, name := range []string{"web.yaml", "kubeconfig", "sysctls.json"} {
		if err := os.Remove(p.file(name)); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, name := range []string{"plane", "node"} {
		files, err := os.ReadDir(p.file(name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, f := range files {
			if !keepLogs || !strings.HasSuffix(f.Name(), ".log") {
				errs = append(errs, os.RemoveAll(p.file(name, f.Name())))
			}
		}
		if !keepLogs {
			errs = append(errs, os.RemoveAll(p.file(name)))
		}
	}
	return errors.Join(errs...)
}
