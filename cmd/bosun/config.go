package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/bosun-project/bosun/internal/config"
)

// configCommand shows the configuration as it came out of flags, files and defaults.
func configCommand() *cobra.Command {
	return &cobra.Command{
		Use: "config [--unsupported] [flags]", Short: "Show the effective configuration, or with --unsupported what is not honoured yet",
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			rest, unsupported := args[:0:0], false
			for _, a := range args {
				if a == "--unsupported" {
					unsupported = true
				} else {
					rest = append(rest, a)
				}
			}
			if unsupported {
				for _, name := range config.AllUnsupported() {
					fmt.Fprintln(c.OutOrStdout(), name)
				}
				return nil
			}
			cfg, err := load(c.OutOrStdout(), c.ErrOrStderr(), rest, false)
			if err != nil || cfg == nil {
				return err
			}
			text, err := yaml.Marshal(cfg.Redacted())
			if err != nil {
				return fmt.Errorf("show the configuration: %w", err)
			}
			_, err = c.OutOrStdout().Write(text)
			return err
		},
	}
}
