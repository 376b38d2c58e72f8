package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// KubectlCommand is kubectl as the administrator, not yet started: for input, output and signals of the caller's own.
func (p *Plane) KubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.KubectlPath, args...)
	// Its cache of what the API server offers must not be shared with other clusters at the same address.
	cmd.Env = append(os.Environ(), "KUBECONFIG="+p.AdminKubeconfig, "KUBECACHEDIR="+p.file("kubectl-cache"), "HOME="+p.Dir)
	return cmd
}

// Kubectl runs kubectl as the administrator and returns what it printed. What it complained of is in the error.
func (p *Plane) Kubectl(ctx context.Context, args ...string) (string, error) {
	return p.KubectlInput(ctx, "", args...)
}

// KubectlInput is Kubectl with input, such as a manifest for `apply -f -`.
func (p *Plane) KubectlInput(ctx context.Context, input string, args ...string) (string, error) {
	cmd := p.KubectlCommand(ctx, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}
