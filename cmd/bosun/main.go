package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/bosun-project/bosun/internal/cli"
)

// release is the version of Bosun; the build sets it.
var release = "0.1.0-dev"

func main() {
	if err := run(commandLine(os.Args)); err != nil {
		if !errors.Is(err, errSaid) {
			fmt.Fprintln(os.Stderr, "bosun: "+err.Error())
		}
		os.Exit(cli.ExitCode(err))
	}
}

// errSaid is an error that the user has been told of already.
var errSaid = errors.New("said")

func run(args []string) error {
	ctx, stop := signalled()
	defer stop()
	root := &cobra.Command{
		Use:           "bosun",
		Short:         "A kubelet: runs the pods of one node",
		Long:          "Bosun runs pods on one node. `bosun up PATH|URL…` runs pods from manifests with one command;\n`bosun run`, or bosun with a kubelet's flags, takes the place of the upstream kubelet.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(runCommand(), upCommand(), checkCommand(), configCommand(), versionCommand())
	root.AddCommand(cli.Commands()...)
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// commandLine is what the program was called with (first its own name), as arguments of bosun. A kubelet's command line has no
// sub-command: bosun stands in for it as it is. Called `kubelet`, as by a link of that name, it is a kubelet and nothing else.
func commandLine(called []string) []string {
	if len(called) == 0 { // the caller left even the name out
		return []string{"run"}
	}
	args := called[1:]
	kubelet := filepath.Base(called[0]) == "kubelet"
	if kubelet || len(args) == 0 || strings.HasPrefix(args[0], "-") && args[0] != "-h" && args[0] != "--help" {
		return append([]string{"run"}, args...)
	}
	return args
}

// signalled returns a context that ends with the first SIGINT or SIGTERM; a second one ends the process with code 1.
func signalled() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		cancel()
		if _, ok := <-signals; ok {
			os.Exit(1)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel()
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of Bosun and of the Kubernetes it stands in for", Args: cobra.NoArgs,
		Run: func(c *cobra.Command, _ []string) {
			fmt.Fprintf(c.OutOrStdout(), "Bosun %s, a kubelet for Kubernetes v1.37\n", release)
		},
	}
}
