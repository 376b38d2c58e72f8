package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	"github.com/bosun-project/bosun/internal/agent"
	"github.com/bosun-project/bosun/internal/boxruntime"
	"github.com/bosun-project/bosun/internal/cli"
	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/names"
	"github.com/bosun-project/bosun/internal/preflight"
	"github.com/bosun-project/bosun/internal/process"
)

// upRootDir is where `bosun up` keeps its state, apart from a kubelet's.
const upRootDir = "/var/lib/bosun"

// upCommand runs pods from manifests with one command, on a container runtime of its own if there is none.
func upCommand() *cobra.Command {
	return &cobra.Command{
		Use: "up [flags] PATH|URL...", Short: "Run the pods of manifests, with a container runtime of Bosun's own if there is none",
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(c.OutOrStdout(), c.ErrOrStderr(), args, true)
			if err != nil || cfg == nil {
				return err
			}
			if len(cfg.Args) == 0 && cfg.Kubelet.StaticPodPath == "" && cfg.Kubelet.StaticPodURL == "" && !cfg.IsSet("--node-api") {
				return errors.New("up: name at least one file, directory or URL of manifests, such as: bosun up examples/nginx-log; or say --node-api, and bring pods with kubectl")
			}
			u := &up{cfg: cfg, out: c.OutOrStdout(), errs: c.ErrOrStderr()}
			return u.run(c.Context())
		},
	}
}

// up is one `bosun up` under way.
type up struct {
	cfg       *config.Config
	out, errs io.Writer
	log       *slog.Logger
	box       *boxruntime.Box
}

func (u *up) run(ctx context.Context) error {
	u.defaults()
	if err := os.MkdirAll(u.cfg.RootDir, 0o750); err != nil {
		return fmt.Errorf("up: make the state directory: %w", err)
	}
	logPath := filepath.Join(u.cfg.RootDir, "bosun.log")
	file, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("up: open the log: %w", err)
	}
	defer file.Close()
	if u.cfg.RootDir, err = filepath.Abs(u.cfg.RootDir); err != nil {
		return fmt.Errorf("up: find the state directory: %w", err)
	}
	u.log = logger(u.cfg, file, new(slog.LevelVar))
	say(u.cfg, u.log)
	for _, w := range u.cfg.Warnings {
		fmt.Fprintln(u.errs, "warning: "+w)
	}
	fmt.Fprintln(u.out, "log: "+logPath)
	if err := u.check(ctx); err != nil {
		return err
	}
	warnings, err := process.Prepare(upSettings(u.cfg))
	for _, w := range warnings {
		u.log.Warn(w)
	}
	if err != nil {
		return err
	}
	if err := u.runtime(ctx); err != nil {
		return err
	}
	return u.pods(ctx)
}

// defaults are those of a machine without a cluster: state of its own, no quarrel about swap or cgroup v1, and hands off the firewall.
func (u *up) defaults() {
	if !u.cfg.IsSet("--root-dir") {
		u.cfg.RootDir = upRootDir
		if !u.cfg.IsSet("--ledger") {
			u.cfg.Ledger = filepath.Join(upRootDir, "bosun.db")
		}
	}
	// A kubelet beside us cleans up what it does not know: cgroups and logs are kept out of its way.
	if !u.cfg.IsSet("cgroupRoot") {
		u.cfg.Kubelet.CgroupRoot = "/bosun-" + strconv.FormatUint(uint64(names.Fingerprint(u.cfg.RootDir)), 16)
	}
	if !u.cfg.IsSet("podLogsDir") {
		u.cfg.Kubelet.PodLogsDir = filepath.Join(u.cfg.RootDir, "logs")
	}
	if u.cfg.RuntimeDir == "" {
		if exe, err := os.Executable(); err == nil {
			u.cfg.RuntimeDir = filepath.Dir(exe)
		}
	}
	if dir, err := filepath.Abs(u.cfg.RuntimeDir); err == nil {
		u.cfg.RuntimeDir = dir
	}
	no := false
	for field, set := range map[string]**bool{"failSwapOn": &u.cfg.Kubelet.FailSwapOn, "failCgroupV1": &u.cfg.Kubelet.FailCgroupV1,
		"makeIPTablesUtilChains": &u.cfg.Kubelet.MakeIPTablesUtilChains} {
		if !u.cfg.IsSet(field) {
			*set = &no
		}
	}
}

// check says what is missing on this machine; only a problem ends the command.
func (u *up) check(ctx context.Context) error {
	findings := preflight.Check(ctx, checks(u.cfg, true))
	if err := preflight.WriteText(u.errs, findings, false, cli.Colour(u.errs)); err != nil {
		return err
	}
	if preflight.Worst(findings) == preflight.Problem {
		return errors.New("up: this machine cannot run pods as it is; see above (`bosun check` shows everything)")
	}
	return nil
}

// runtime finds the container runtime or starts one, and loads images into it.
func (u *up) runtime(ctx context.Context) error {
	endpoint := ""
	if u.cfg.IsSet("containerRuntimeEndpoint") {
		endpoint = u.cfg.Kubelet.ContainerRuntimeEndpoint
	} else if answer, err := boxruntime.FirstAnswer(ctx, boxruntime.Usual()); err == nil {
		endpoint = answer.Endpoint
	}
	if endpoint == "" {
		box, err := boxruntime.Start(ctx, boxruntime.Config{
			RuntimeDir: u.cfg.RuntimeDir, Root: filepath.Join(u.cfg.RootDir, "runtime"), Log: u.log,
		})
		if err != nil {
			return err
		}
		u.box, endpoint = box, box.Endpoint()
	}
	u.cfg.Kubelet.ContainerRuntimeEndpoint = endpoint
	fmt.Fprintln(u.out, "runtime: "+endpoint)
	if u.cfg.ServesNodeAPI() {
		fmt.Fprintln(u.out, "kubectl: export KUBECONFIG="+filepath.Join(u.cfg.RootDir, agent.KubectlConfig))
	}
	if u.cfg.Images == "" {
		return nil
	}
	loaded, err := u.load(ctx, endpoint)
	for _, l := range loaded {
		if !l.Already {
			fmt.Fprintf(u.out, "image: %v from %s\n", l.Names, l.File)
		}
	}
	return err
}

func (u *up) load(ctx context.Context, endpoint string) ([]boxruntime.Loaded, error) {
	if u.box != nil {
		return u.box.LoadImages(ctx, u.cfg.Images)
	}
	return boxruntime.Loader{
		RuntimeDir: u.cfg.RuntimeDir, Endpoint: endpoint, Record: filepath.Join(u.cfg.RootDir, "images.json"), Log: u.log,
	}.Load(ctx, u.cfg.Images)
}

// pods runs the agent until the user has had enough, then ends pods and runtime unless they are to stay.
func (u *up) pods(ctx context.Context) error {
	a, err := agent.New(ctx, agent.Options{Config: u.cfg, Manifests: u.cfg.Args, LeaveStrays: true, Log: u.log})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	ended := make(chan error, 1)
	group.Go(func() { ended <- a.Run(running) })
	if u.box != nil {
		group.Go(func() { _ = u.box.Supervise(running) })
	}
	group.Go(func() { cli.Show(running, u.out, a.Faces()) })
	select {
	case err = <-ended: // without being asked: then there is nobody left who could stop pods
	case <-ctx.Done():
		err = u.leave(running, a)
		stop()
		err = errors.Join(err, <-ended)
	}
	stop()
	group.Wait()
	if u.box != nil && !u.cfg.Detach && ctx.Err() != nil {
		err = errors.Join(err, u.box.Stop(context.WithoutCancel(ctx)))
	}
	return err
}

// leave ends all pods, unless they are to stay.
func (u *up) leave(ctx context.Context, a *agent.Agent) error {
	if u.cfg.Detach {
		return nil
	}
	fmt.Fprintln(u.errs, "\nstopping all pods; press Ctrl-C again to leave them")
	return a.Empty(ctx)
}
