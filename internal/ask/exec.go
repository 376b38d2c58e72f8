package ask

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/bosun-project/bosun/internal/environ"
	"github.com/bosun-project/bosun/internal/fault"
	"github.com/bosun-project/bosun/internal/health"
)

// execSlack is what the runtime gets beyond a command's time limit to end it and to say so.
const execSlack = time.Second

// execID is the name that a runtime gives to one run of a command. It is another one each time, so that two errors that
// say the same would not look the same.
var execID = regexp.MustCompile(` "[0-9a-f]{64}"`)

// exec runs the command: exit code 0 is success, another one and a command that takes too long are failures
// (behaviour 127). What the runtime cannot carry out says nothing of the container.
func (a *Asker) exec(ctx context.Context, q health.Question) (health.Answer, error) {
	command := environ.Expand(q.Handler.Exec.Command, environ.Literals(q.Container))
	limited, cancel := context.WithTimeout(ctx, q.Timeout+execSlack)
	defer cancel()
	output, code, err := a.runtime.Exec(limited, q.ContainerID, command, q.Timeout)
	switch {
	case ctx.Err() != nil:
		return health.Answer{}, context.Cause(ctx)
	case errors.Is(err, fault.ErrTimeout), err != nil && limited.Err() != nil:
		return failed(fmt.Sprintf("command timed out: %q timed out after %v", strings.Join(command, " "), q.Timeout)), nil
	case err != nil:
		return health.Answer{}, errors.New(execID.ReplaceAllString(err.Error(), ""))
	}
	said := string(output[:min(len(output), maxOutput)])
	if code == 0 {
		return health.Answer{Result: health.Success, Output: said}, nil
	}
	if said == "" {
		said = fmt.Sprintf("command %q exited with code %d", strings.Join(command, " "), code)
	}
	return failed(said), nil
}
