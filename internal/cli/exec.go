package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/remotecommand"
	transport "k8s.io/client-go/transport/spdy"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream/spdy"
)

// executing is one `bosun exec`.
type executing struct {
	asking
	container  string
	stdin, tty bool
	in         io.Reader
	out, errs  io.Writer
}

func execCommand() *cobra.Command {
	x := &executing{}
	c := &cobra.Command{
		Use: "exec POD [-c CONTAINER] [-it] -- COMMAND [ARGUMENT...]", Short: "Run a command in a container", Args: cobra.MinimumNArgs(2),
		Long:    "Run a command in a running container, through the agent's admin socket. bosun ends with the exit code of the command.",
		Example: "  bosun exec nginx -- nginx -t\n  bosun exec -it nginx -c tail -- sh",
		RunE: func(c *cobra.Command, args []string) error {
			x.in, x.out, x.errs = c.InOrStdin(), c.OutOrStdout(), c.ErrOrStderr()
			return x.run(c.Context(), args[0], args[1:])
		},
	}
	x.flags(c)
	f := c.Flags()
	f.StringVarP(&x.container, "container", "c", "", "the container; the pod's first one if there is none")
	f.BoolVarP(&x.stdin, "stdin", "i", false, "pass input to the command")
	f.BoolVarP(&x.tty, "tty", "t", false, "give the command a terminal")
	f.SetInterspersed(true)
	return c
}

func (x *executing) run(ctx context.Context, said string, command []string) error {
	a, err := x.agent(ctx, false)
	if err != nil {
		return err
	}
	o, err := x.overview(ctx, a)
	if err != nil {
		return err
	}
	p, err := pick(o.Pods, said)
	if err != nil {
		return err
	}
	name, others, err := container(p, x.container)
	if err != nil {
		return err
	}
	fmt.Fprint(x.errs, chose(name, others))
	if x.tty && !(x.stdin && isTerminal(x.in)) {
		fmt.Fprintln(x.errs, "no terminal for the command: -t needs -i and a terminal as input")
		x.tty = false
	}
	at, err := url.Parse(a.base + "/exec/" + url.PathEscape(p.Namespace) + "/" + url.PathEscape(p.Name) + "/" + url.PathEscape(p.UID) + "/" + url.PathEscape(name))
	if err != nil {
		return err
	}
	at.RawQuery = x.query(command).Encode()
	return x.stream(ctx, a, at)
}

func (x *executing) query(command []string) url.Values {
	q := url.Values{"command": command, "output": {"1"}}
	for name, on := range map[string]bool{"input": x.stdin, "error": !x.tty, "tty": x.tty} {
		if on {
			q.Set(name, "1")
		}
	}
	return q
}

// stream joins this process and the command.
func (x *executing) stream(ctx context.Context, a *agent, at *url.URL) error {
	tripper, err := spdy.NewRoundTripperWithConfig(spdy.RoundTripperConfig{UpgradeTransport: &http.Transport{DialContext: a.dial}})
	if err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	client, err := remotecommand.NewSPDYExecutorForTransports(tripper, transport.NewUpgraderForStreaming(tripper), http.MethodPost, at)
	if err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	o := remotecommand.StreamOptions{Stdout: x.out, Tty: x.tty}
	if x.stdin {
		o.Stdin = x.in
	}
	if x.tty {
		t, err := rawTerminal(x.in)
		if err != nil {
			return fmt.Errorf("exec: %w", err)
		}
		defer t.restore()
		o.TerminalSizeQueue = t
	} else {
		o.Stderr = x.errs
	}
	err = client.StreamWithContext(ctx, o)
	var ended utilexec.CodeExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ended):
		return &ExitError{Code: ended.Code}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("exec: %s", clean(err.Error()))
}
