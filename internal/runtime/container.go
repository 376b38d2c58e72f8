package runtime

import (
	"context"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// execSlack is what the runtime gets, beyond a command's own time limit, to end the command and to say so.
const execSlack = 10 * time.Second

// CreateContainer makes a container in a sandbox and returns its ID.
func (c *Client) CreateContainer(
	ctx context.Context, sandboxID string, config *cri.ContainerConfig, sandbox *cri.PodSandboxConfig,
) (string, error) {
	what := "create container " + config.GetMetadata().GetName() + " in sandbox " + short(sandboxID)
	r, err := call(ctx, c, "create_container", what, c.timeout, c.runtime.CreateContainer,
		&cri.CreateContainerRequest{PodSandboxId: sandboxID, Config: config, SandboxConfig: sandbox})
	if err == nil && r.GetContainerId() == "" {
		err = missing(what, "an ID")
	}
	return r.GetContainerId(), err
}

// StartContainer starts a container.
func (c *Client) StartContainer(ctx context.Context, id string) error {
	_, err := call(ctx, c, "start_container", "start container "+short(id), c.timeout, c.runtime.StartContainer,
		&cri.StartContainerRequest{ContainerId: id})
	return err
}

// StopContainer stops a container: its stop signal, then, after timeoutSeconds, KILL; 0 kills at once. The call
// returns when the container has stopped; its limit is timeoutSeconds and the request timeout together.
func (c *Client) StopContainer(ctx context.Context, id string, timeoutSeconds int64) error {
	timeoutSeconds = max(timeoutSeconds, 0)
	_, err := call(ctx, c, "stop_container", "stop container "+short(id), seconds(timeoutSeconds)+c.timeout,
		c.runtime.StopContainer, &cri.StopContainerRequest{ContainerId: id, Timeout: timeoutSeconds})
	return err
}

// RemoveContainer removes a container, killing it if it runs. A container that is gone is no error.
func (c *Client) RemoveContainer(ctx context.Context, id string) error {
	_, err := call(ctx, c, "remove_container", "remove container "+short(id), c.timeout, c.runtime.RemoveContainer,
		&cri.RemoveContainerRequest{ContainerId: id})
	return err
}

// ExecResult is what a command in a container left.
type ExecResult struct {
	Stdout, Stderr []byte
	ExitCode       int32
}

// ExecSync runs a command in a container and waits for its end. A command that ends with another code than 0 is no
// error. One that runs longer than timeout, which counts in whole seconds, is killed: fault.ErrTimeout. With timeout
// 0 only ctx ends it.
func (c *Client) ExecSync(ctx context.Context, id string, command []string, timeout time.Duration) (ExecResult, error) {
	limit := noLimit
	whole := max(timeout+time.Second-1, 0).Truncate(time.Second)
	if timeout <= 0 {
		whole = 0
	} else {
		limit = whole + execSlack
	}
	r, err := call(ctx, c, "exec_sync", "run a command in container "+short(id), limit, c.runtime.ExecSync,
		&cri.ExecSyncRequest{ContainerId: id, Cmd: command, Timeout: int64(whole / time.Second)})
	return ExecResult{Stdout: r.GetStdout(), Stderr: r.GetStderr(), ExitCode: r.GetExitCode()}, err
}

// Exec asks for the URL of a stream to a new command in a container.
func (c *Client) Exec(ctx context.Context, request *cri.ExecRequest) (string, error) {
	what := "exec in container " + short(request.GetContainerId())
	r, err := call(ctx, c, "exec", what, c.timeout, c.runtime.Exec, request)
	return streamURL(what, r.GetUrl(), err)
}

// Attach asks for the URL of a stream to a container's first process.
func (c *Client) Attach(ctx context.Context, request *cri.AttachRequest) (string, error) {
	what := "attach to container " + short(request.GetContainerId())
	r, err := call(ctx, c, "attach", what, c.timeout, c.runtime.Attach, request)
	return streamURL(what, r.GetUrl(), err)
}

// ReopenContainerLog makes the runtime open a container's log file anew, after a rotation.
func (c *Client) ReopenContainerLog(ctx context.Context, id string) error {
	_, err := call(ctx, c, "reopen_container_log", "reopen log of container "+short(id), c.timeout,
		c.runtime.ReopenContainerLog, &cri.ReopenContainerLogRequest{ContainerId: id})
	return err
}

// UpdateContainerResources changes what a running container may use.
func (c *Client) UpdateContainerResources(ctx context.Context, id string, resources *cri.LinuxContainerResources) error {
	_, err := call(ctx, c, "update_container", "update resources of container "+short(id), c.timeout,
		c.runtime.UpdateContainerResources, &cri.UpdateContainerResourcesRequest{ContainerId: id, Linux: resources})
	return err
}

// CheckpointContainer writes a running container to the file location. timeoutSeconds 0 leaves the request timeout.
func (c *Client) CheckpointContainer(ctx context.Context, id, location string, timeoutSeconds int64) error {
	limit := c.timeout
	if timeoutSeconds > 0 {
		limit = seconds(timeoutSeconds)
	}
	_, err := call(ctx, c, "checkpoint_container", "checkpoint container "+short(id), limit,
		c.runtime.CheckpointContainer,
		&cri.CheckpointContainerRequest{ContainerId: id, Location: location, Timeout: max(timeoutSeconds, 0)})
	return err
}
