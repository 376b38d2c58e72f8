package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// StopAPIServer ends the API server as an upgrade does (SIGTERM): it says goodbye to watches and connections first.
func (p *Plane) StopAPIServer() error { return p.endAPIServer(syscall.SIGTERM) }

// KillAPIServer ends the API server as a crash does.
func (p *Plane) KillAPIServer() error { return p.endAPIServer(syscall.SIGKILL) }

func (p *Plane) endAPIServer(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.apiServer.End(sig)
	p.apiServer = nil
	return err
}

// StartAPIServer starts an API server that was ended, at the same address, and returns when it is ready.
func (p *Plane) StartAPIServer(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.startAPIServer(ctx)
}

func (p *Plane) startAPIServer(ctx context.Context) error {
	if p.apiServer.alive() {
		return errors.New("control plane: the API server runs already")
	}
	var err error
	if p.apiServer, err = p.apiServerProgram().Start(); err != nil {
		return err
	}
	return p.apiServer.Await(ctx, func(ctx context.Context) error { return p.healthy(ctx, "/readyz") })
}

// RestartAPIServer stops and starts it.
func (p *Plane) RestartAPIServer(ctx context.Context) error {
	if err := p.StopAPIServer(); err != nil {
		return err
	}
	return p.StartAPIServer(ctx)
}

// FreezeAPIServer makes the API server hang (SIGSTOP): connections stay, and are even accepted, but nothing answers. It
// returns when all its threads stand still.
func (p *Plane) FreezeAPIServer() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.apiServer.alive() {
		return errors.New("control plane: the API server does not run")
	}
	if err := p.apiServer.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("freeze the API server: %w", err)
	}
	for {
		err := unix.Waitid(unix.P_PID, p.apiServer.cmd.Process.Pid, nil, unix.WSTOPPED, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// ThawAPIServer lets a frozen API server go on.
func (p *Plane) ThawAPIServer() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.apiServer.alive() {
		return errors.New("control plane: the API server does not run")
	}
	return p.apiServer.cmd.Process.Signal(syscall.SIGCONT)
}

// StopControllers ends controller manager and scheduler, so that nothing is made or bound any more.
func (p *Plane) StopControllers() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := errors.Join(p.scheduler.End(syscall.SIGTERM), p.controllers.End(syscall.SIGTERM))
	p.scheduler, p.controllers = nil, nil
	return err
}

// Backup copies what the cluster knows to a directory that does not exist yet. The control plane stands still meanwhile.
func (p *Plane) Backup(ctx context.Context, dir string) error {
	return p.withoutStore(ctx, func() error { return os.CopyFS(dir, os.DirFS(p.etcdData())) })
}

// Restore puts a backup back: for all clients time has gone backwards, resource versions included.
func (p *Plane) Restore(ctx context.Context, dir string) error {
	return p.withoutStore(ctx, func() error {
		if err := os.RemoveAll(p.etcdData()); err != nil {
			return err
		}
		if err := os.CopyFS(p.etcdData(), os.DirFS(dir)); err != nil {
			return err
		}
		return os.Chmod(p.etcdData(), 0o700) // etcd insists
	})
}

// withoutStore ends all parts, does something, and starts them again.
func (p *Plane) withoutStore(ctx context.Context, do func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, part := range []**Process{&p.scheduler, &p.controllers, &p.apiServer, &p.etcd} {
		if err := (*part).End(syscall.SIGKILL); err != nil { // what etcd has written the kernel keeps
			return err
		}
		*part = nil
	}
	if err := do(); err != nil {
		return err
	}
	var err error
	if p.etcd, err = p.etcdProgram().Start(); err != nil {
		return err
	}
	if err := p.startAPIServer(ctx); err != nil {
		return err
	}
	if p.controllers, err = p.controllerManagerProgram().Start(); err != nil {
		return err
	}
	p.scheduler, err = p.schedulerProgram().Start()
	return err
}
