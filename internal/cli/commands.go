package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

// Commands returns the commands that ask a running agent: get, explain, logs, exec.
func Commands() []*cobra.Command {
	return []*cobra.Command{getCommand(), explainCommand(), logsCommand(), execCommand()}
}

// ExitCode is the code that the program should end with after a command returned err: that of the command that
// `bosun exec` ran, 0 for no error, or 1.
func ExitCode(err error) int {
	var ended *ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ended):
		return ended.Code
	}
	return 1
}

// ExitError tells that the command which `bosun exec` ran in a container ended with another code than 0.
type ExitError struct{ Code int }

func (e *ExitError) Error() string {
	return fmt.Sprintf("command terminated with exit code %d", e.Code)
}

// asking is what all commands have in common.
type asking struct {
	socket, rootDir, namespace string
	now                        func() time.Time
}

// flags adds the flags that say where the agent is.
func (q *asking) flags(c *cobra.Command) {
	q.now = time.Now
	f := c.Flags()
	f.StringVar(&q.socket, "socket", "", "the agent's admin socket (default: $BOSUN_SOCKET, else "+SocketName+" in the usual state directories)")
	f.StringVar(&q.rootDir, "root-dir", "", "the agent's state directory, in which its socket is")
	f.StringVarP(&q.namespace, "namespace", "n", "", "only pods of this namespace")
}

// agent finds the agent. The read-only server may stand in unless the socket was named, or must be had.
func (q *asking) agent(ctx context.Context, readOnly bool) (*agent, error) {
	p := places{sockets: usualSockets(), web: readOnlyServer}
	switch {
	case q.socket != "":
		p = places{sockets: []string{q.socket}}
	case q.rootDir != "":
		p = places{sockets: []string{q.rootDir + "/" + SocketName}}
	case socketFromEnvironment() != "":
		p = places{sockets: []string{socketFromEnvironment()}}
	}
	if !readOnly {
		p.web = ""
	}
	return p.find(ctx)
}

// painter is for what a command writes to.
func painter(out io.Writer) paint { return paint{on: Colour(out)} }
