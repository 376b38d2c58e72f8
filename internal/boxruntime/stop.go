package boxruntime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// removePatience is how long Stop lets containerd remove pods that are left before it does so by force.
const removePatience = 30 * time.Second

// Stop takes the runtime down: pods that are left are removed (without grace: whoever wants to give them time has done so),
// containerd is ended, and its mounts, network namespaces, bridge and iptables rules are removed. Images and what was
// chosen stay for the next Start. Supervise returns. Stop does all it can and joins what failed.
func (b *Box) Stop(ctx context.Context) error {
	b.once.Do(func() { close(b.ending) })
	b.supervising.Lock()
	defer b.supervising.Unlock()
	unlock, err := lock(b.cfg)
	if err != nil {
		return fmt.Errorf("stop the container runtime: %w", err)
	}
	defer unlock()
	if err := b.takeDown(ctx); err != nil {
		return fmt.Errorf("stop the container runtime: %w", err)
	}
	b.health.Set(Health{Since: time.Now(), Restarts: b.health.Value().Restarts, Err: errors.New("it was stopped")})
	b.cfg.Log.Info("ended the container runtime", "root", b.cfg.Root)
	return nil
}

// Purge is Stop, and then removes images, containers and all other state.
func (b *Box) Purge(ctx context.Context) error {
	return errors.Join(b.Stop(ctx), Purge(ctx, b.cfg))
}

// Purge removes what a runtime left, whether it runs or not, its Root included: Root is then free for another use.
// Nothing is removed below a mount that cannot be unmounted.
func Purge(ctx context.Context, c Config) error {
	c, err := c.withDefaults()
	if err != nil {
		return fmt.Errorf("remove the container runtime: %w", err)
	}
	if _, err := os.Stat(c.Root); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(c.RunDir, 0o711); err != nil {
		return fmt.Errorf("remove the container runtime: %w", err)
	}
	unlock, err := lock(c)
	if err != nil {
		return fmt.Errorf("remove the container runtime: %w", err)
	}
	defer unlock()
	b := &Box{cfg: c, ending: make(chan struct{})}
	err = b.takeDown(ctx)
	if err == nil {
		err = errors.Join(removeTree(c.RunDir), removeTree(c.Root), dropSharedChains(ctx))
	}
	if err != nil {
		return fmt.Errorf("remove the container runtime: %w", err)
	}
	return nil
}

// takeDown ends and removes everything but Root. The caller holds the lock.
func (b *Box) takeDown(ctx context.Context) error {
	c := b.cfg
	boot, err := bootID()
	if err != nil {
		return err
	}
	p, err := readRecord(c.recordFile()).find(ctx, boot)
	if errors.Is(err, errNoProcess) {
		p, err = b.search()
	}
	switch {
	case errors.Is(err, errNoProcess): // it does not run
	case err != nil:
		return err
	default:
		defer p.close()
		if err := removeSandboxes(ctx, c); err != nil {
			c.Log.Warn("containerd could not remove all pods; they are removed by force", "error", err)
		}
		if err := p.end(ctx, endPatience); err != nil {
			return err
		}
	}
	errs := []error{killPods(ctx, c), unmountBelow(c.RunDir), unmountBelow(c.Root)}
	if choice, err := readChoices(c); err != nil {
		errs = append(errs, err)
	} else if c.ownNetwork() && choice.Bridge != "" {
		errs = append(errs, removeRules(ctx, choice.Bridge, choice.Subnet), removeBridge(choice.Bridge),
			removeResults(choice.Bridge), removeContents(c.ipamDir()))
	}
	if c.Cgroup != "" {
		errs = append(errs, removeCgroup(c.Cgroup))
	}
	for _, name := range []string{c.SocketPath, c.SocketPath + ".ttrpc", c.recordFile(), filepath.Join(c.RunDir, "notify")} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, name := range []string{"state", "s"} {
		errs = append(errs, removeTree(filepath.Join(c.RunDir, name)))
	}
	return errors.Join(errs...)
}

// removeSandboxes lets containerd remove every pod it has, side by side: that also takes their network down properly.
func removeSandboxes(ctx context.Context, c Config) error {
	ctx, cancel := context.WithTimeout(ctx, removePatience)
	defer cancel()
	conn, err := connect(c.SocketPath)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	client := cri.NewRuntimeServiceClient(conn)
	list, err := client.ListPodSandbox(ctx, &cri.ListPodSandboxRequest{})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	errs := make([]error, len(list.Items))
	var group errgroup.Group
	group.SetLimit(8)
	for i, item := range list.Items {
		group.Go(func() error {
			name := item.GetMetadata().GetNamespace() + "/" + item.GetMetadata().GetName()
			if _, err := client.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: item.Id}); err != nil {
				errs[i] = fmt.Errorf("stop pod %s: %w", name, err)
			} else if _, err := client.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: item.Id}); err != nil {
				errs[i] = fmt.Errorf("remove pod %s: %w", name, err)
			}
			return nil
		})
	}
	_ = group.Wait()
	return errors.Join(errs...)
}
