package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// talk registers the plugin at a socket and lets it go when the socket has gone, which ends ctx. living is what the loop as a
// whole lives in: when that ends, the plugin stays with its handler.
func (l *Loop) talk(living, ctx context.Context, s *socket) {
	var pause time.Duration
	for told := ""; ; {
		info, err := l.register(ctx, s.said.Socket)
		if ctx.Err() != nil {
			return
		}
		l.learn(s, info, err)
		if err == nil {
			l.cfg.Log.Info("a plugin was registered", "type", info.Type, "name", info.Name, "socket", s.said.Socket)
			<-ctx.Done()
			if living.Err() == nil {
				l.release(info, s.said.Socket)
			}
			return
		}
		if text := err.Error(); text != told {
			told = text
			l.cfg.Log.Warn("a plugin cannot be registered", "socket", s.said.Socket, "err", err)
		}
		pause = pauses.Next(pause)
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// learn notes how registering went.
func (l *Loop) learn(s *socket, info *registration.PluginInfo, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.said.Type, s.said.Name = cmp.Or(info.GetType(), s.said.Type), cmp.Or(info.GetName(), s.said.Name)
	s.said.Registered, s.said.Problem = err == nil, ""
	if err != nil {
		s.said.Problem = err.Error()
	}
	l.publish()
}

func (l *Loop) release(info *registration.PluginInfo, socket string) {
	if err := l.cfg.Handlers[info.Type].Deregister(info.Name, serves(info, socket)); err != nil {
		l.cfg.Log.Warn("a plugin was not let go cleanly", "type", info.Type, "name", info.Name, "err", err)
	}
	l.cfg.Log.Info("a plugin has gone", "type", info.Type, "name", info.Name, "socket", socket)
}

// serves is the socket at which a plugin serves: another than that of its registration, or the same.
func serves(info *registration.PluginInfo, socket string) string {
	return cmp.Or(info.Endpoint, socket)
}

// register asks what a plugin is, has its handler take it in, and tells it how that went.
func (l *Loop) register(ctx context.Context, socket string) (*registration.PluginInfo, error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := registration.NewRegistrationClient(conn)
	info, err := l.inquire(ctx, client)
	if err != nil {
		return nil, err
	}
	err = l.accept(ctx, info, socket)
	status := &registration.RegistrationStatus{PluginRegistered: err == nil}
	if err != nil {
		status.Error = err.Error()
	}
	telling, cancel := context.WithTimeout(ctx, l.cfg.Patience)
	defer cancel()
	if _, told := client.NotifyRegistrationStatus(telling, status); told != nil {
		told = fmt.Errorf("plugin %s cannot be told how its registration went: %w", info.Name, told)
		if err == nil { // it believes that it is not registered, and may end
			l.release(info, socket)
		}
		err = errors.Join(err, told)
	}
	return info, err
}

func (l *Loop) inquire(ctx context.Context, client registration.RegistrationClient) (*registration.PluginInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Patience)
	defer cancel()
	// The socket is there a moment before it is listened on.
	info, err := client.GetInfo(ctx, &registration.InfoRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return nil, fmt.Errorf("ask the plugin what it is: %w", err)
	}
	return info, nil
}

func (l *Loop) accept(ctx context.Context, info *registration.PluginInfo, socket string) error {
	h := l.cfg.Handlers[info.Type]
	if h == nil {
		return fmt.Errorf("plugin %q is of the type %q; what works: %s", info.Name, info.Type, strings.Join(slices.Sorted(maps.Keys(l.cfg.Handlers)), ", "))
	}
	if err := h.Validate(info.Name, info.SupportedVersions); err != nil {
		return err
	}
	return h.Register(ctx, info.Name, serves(info, socket), info.SupportedVersions)
}
