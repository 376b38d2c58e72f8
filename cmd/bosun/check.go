package main

import (
	"errors"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/bosun-project/bosun/internal/boxruntime"
	"github.com/bosun-project/bosun/internal/cli"
	"github.com/bosun-project/bosun/internal/config"
	"github.com/bosun-project/bosun/internal/preflight"
)

// checkCommand says in plain words what is missing on this machine.
func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check [flags]", Short: "Say what this machine lacks to run pods, and how to mend it", DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := load(c.OutOrStdout(), c.ErrOrStderr(), args, false)
			if err != nil || cfg == nil {
				return err
			}
			findings := preflight.Check(c.Context(), checks(cfg, false))
			if err := preflight.WriteText(c.OutOrStdout(), findings, true, cli.Colour(c.OutOrStdout())); err != nil {
				return err
			}
			if preflight.Worst(findings) == preflight.Problem {
				return errors.New("check: this machine has problems; see above")
			}
			return nil
		},
	}
}

// checks is what a preflight has to look at for a configuration.
func checks(cfg *config.Config, up bool) preflight.Config {
	k := &cfg.Kubelet
	c := preflight.Config{
		Up: up, RootDir: cfg.RootDir, PodLogsDir: k.PodLogsDir, LockFile: cfg.LockFile, Usual: boxruntime.Usual(), RuntimeDir: cfg.RuntimeDir,
		FailSwapOn: k.FailSwapOn != nil && *k.FailSwapOn, FailCgroupV1: k.FailCgroupV1 != nil && *k.FailCgroupV1,
		ProtectKernelDefaults: k.ProtectKernelDefaults,
	}
	if cfg.IsSet("containerRuntimeEndpoint") {
		c.Endpoint = k.ContainerRuntimeEndpoint
	}
	if k.ResolverConfig != nil {
		c.ResolvConf = *k.ResolverConfig
	}
	port := func(name string, number int32, address string) {
		if number > 0 {
			at, _ := netip.ParseAddr(address) // the configuration was validated; "" means all
			c.Ports = append(c.Ports, preflight.Port{Name: name, Number: uint16(number), Address: at})
		}
	}
	if k.HealthzPort != nil {
		port("healthzPort", *k.HealthzPort, k.HealthzBindAddress)
	}
	port("readOnlyPort", k.ReadOnlyPort, k.Address)
	if !cfg.Standalone() && (k.EnableServer == nil || *k.EnableServer) {
		port("port", k.Port, k.Address)
	}
	return c
}
