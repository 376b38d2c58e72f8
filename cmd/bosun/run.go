package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/bosun-project/bosun/internal/agent"
	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/process"
)

// runCommand is the agent itself, with a kubelet's flags.
func runCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run [flags]", Short: "Run the agent with a kubelet's flags and configuration file", DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(c.OutOrStdout(), c.ErrOrStderr(), args, false)
			if err != nil || cfg == nil {
				return err
			}
			level := new(slog.LevelVar)
			log := logger(cfg, c.ErrOrStderr(), level)
			say(cfg, log)
			return serveNode(c.Context(), agent.Options{Config: cfg, Release: release, Log: log, Level: level})
		},
	}
}

// serveNode runs the agent as a service of the machine: with the limits, the lock and the word to systemd that go with it.
func serveNode(ctx context.Context, o agent.Options) error {
	cfg, log := o.Config, o.Log
	if cfg.LockFile != "" {
		lock, err := process.Acquire(ctx, cfg.LockFile, process.LockOptions{
			ExitOnContention: cfg.ExitOnLockContention,
			Waiting:          func() { log.Info("waiting for the lock file", "path", cfg.LockFile) },
		})
		if err != nil {
			return err
		}
		defer lock.Release()
		return lock.While(ctx, func(ctx context.Context) error { return serveLocked(ctx, o) })
	}
	return serveLocked(ctx, o)
}

func serveLocked(ctx context.Context, o agent.Options) error {
	cfg, log := o.Config, o.Log
	warnings, err := process.Prepare(settings(cfg))
	for _, w := range warnings {
		log.Warn(w)
	}
	if err != nil {
		return err
	}
	var a *agent.Agent
	dog, err := process.NewWatchdog(func() error { return a.Healthy() }, log)
	if err != nil {
		return err
	}
	if a, err = agent.New(ctx, o); err != nil {
		return err
	}
	if err := process.Ready(); err != nil {
		log.Warn("systemd was not told that the agent has started", "err", err)
	}
	defer context.AfterFunc(ctx, func() { _ = process.Stopping() })() // systemd sees the end itself
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { _ = dog.Run(ctx) })
	watch.Go(func() { forgetStart(ctx, log) })
	defer watch.Wait()
	defer cancel()
	log.Info("Bosun "+release+" runs this node", "node", a.Name(), "state", cfg.RootDir, "runtime", cfg.Kubelet.ContainerRuntimeEndpoint)
	if err := a.Run(ctx); err != nil {
		return err
	}
	log.Info("Bosun has ended; the pods go on")
	return nil
}

// settled is how long after its start an agent has done what it does only then.
const settled = 20 * time.Second

// forgetStart gives back the memory that only the start needed.
func forgetStart(ctx context.Context, log *slog.Logger) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(settled):
	}
	debug.FreeOSMemory()
	if _, err := process.ForgetCode(); err != nil {
		log.Debug("memory that only the start needed stays in use", "err", err)
	}
}

// settings is what the configuration asks of the process and the machine. A node without a cluster leaves the kernel's
// settings as they are, unless it is to check them.
func settings(cfg *config.Config) process.Settings {
	k := &cfg.Kubelet
	s := process.Settings{
		MaxOpenFiles: k.MaxOpenFiles, OOMScoreAdj: k.OOMScoreAdj, Kernel: process.SetKernel,
		FailSwapOn: k.FailSwapOn != nil && *k.FailSwapOn, FailCgroupV1: k.FailCgroupV1 != nil && *k.FailCgroupV1,
	}
	if cfg.ConfigFile == "" && !cfg.IsSet("failCgroupV1") { // a command line of old times, when there was no other cgroup
		s.FailCgroupV1 = false
	}
	switch {
	case k.ProtectKernelDefaults:
		s.Kernel = process.CheckKernel
	case cfg.Standalone():
		s.Kernel = process.LeaveKernel
	}
	return s
}

// upSettings are those of `bosun up`: what the user asked for and no more, since it is a command on somebody's machine.
// What it cannot do without is for the check before it to say.
func upSettings(cfg *config.Config) process.Settings {
	s := settings(cfg)
	if !cfg.IsSet("maxOpenFiles") {
		s.MaxOpenFiles = 0
	}
	if !cfg.IsSet("oomScoreAdj") {
		s.OOMScoreAdj = nil
	}
	return s
}

// load reads flags and files. It returns nil without an error when the user only asked for help or the version.
func load(out, errs io.Writer, args []string, operands bool) (*config.Config, error) {
	cfg, err := config.Load(args, config.Env{Operands: operands})
	if err != nil {
		for _, w := range cfg.Warnings {
			fmt.Fprintln(errs, "warning: "+w)
		}
		var problems config.Problems
		if !errors.As(err, &problems) {
			return nil, err
		}
		fmt.Fprintf(errs, "bosun: the configuration has %d problem(s):\n", len(problems))
		for _, p := range problems {
			fmt.Fprintln(errs, "  "+p.String())
		}
		return nil, errSaid
	}
	switch {
	case cfg.Help:
		fmt.Fprint(out, config.Flags())
		return nil, nil
	case cfg.Version != "":
		fmt.Fprint(out, versionText(cfg.Version))
		return nil, nil
	}
	return cfg, nil
}

// versionText answers --version. kubeadm and others ask `kubelet --version` and read that one line to its end, so nothing else
// is in it; the raw form says the rest.
func versionText(form string) string {
	line := "Kubernetes " + agent.Kubernetes + "\n"
	if form == "raw" {
		line += "Bosun " + release + "\n"
	}
	return line
}

// logger writes what the configuration asks for: text or JSON, quieter or more talkative.
func logger(cfg *config.Config, w io.Writer, level *slog.LevelVar) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if cfg.Kubelet.Logging.Verbosity >= 4 {
		level.Set(slog.LevelDebug)
	}
	if cfg.Kubelet.Logging.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// say tells of what the user should know of the configuration.
func say(cfg *config.Config, log *slog.Logger) {
	for _, w := range cfg.Warnings {
		log.Warn(w)
	}
	for _, n := range cfg.Notes {
		log.Info(n)
	}
	if fields := config.Unsupported(cfg); len(fields) > 0 {
		names := make([]string, 0, len(fields))
		for _, f := range fields {
			names = append(names, f.Setting)
		}
		log.Warn("these settings are accepted but not honoured yet", "fields", names)
	}
}
