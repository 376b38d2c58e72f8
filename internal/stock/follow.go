package stock

import (
	"context"
	"maps"
	"time"

	"github.com/bosun-project/bosun/internal/allocate"
)

// follow speaks to one plugin until it has gone, or another one has come in its place.
//
//	registered ──► options ──► devices told: it serves ──► gone: away, and after a while given up
//
// The plugin is let go when ctx ends, and stays what it is when living does: that is the agent's end.
func (l *Loop) follow(living, ctx context.Context, s *server) {
	defer l.close(s)
	defer s.stop()
	err := l.prepare(ctx, s)
	if err == nil {
		told := ""
		err = s.plugin.Follow(ctx, func(devices map[string]allocate.Device, problem string) {
			if problem != told && problem != "" {
				l.cfg.Log.Warn("a device plugin tells nonsense", "resource", s.resource, "socket", s.socket, "problem", problem)
			}
			told = problem
			l.learn(ctx, s, devices)
		})
	}
	if living.Err() == nil {
		l.leave(ctx, s, err)
	}
}

// prepare asks what the plugin wants, until it answers or has been given time enough.
func (l *Loop) prepare(ctx context.Context, s *server) error {
	if s.knows {
		return nil
	}
	plugin, err := l.cfg.Connect(s.socket)
	if err != nil {
		return err
	}
	s.plugin = plugin
	patience := time.NewTimer(l.cfg.Patience)
	defer patience.Stop()
	for pause := time.Duration(0); ; {
		if s.preStart, s.prefers, err = plugin.Options(ctx); err == nil {
			return nil
		}
		pause = pauses.Next(pause)
		retry := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			retry.Stop()
			return ctx.Err()
		case <-patience.C:
			retry.Stop()
			return err
		case <-retry.C:
		}
	}
}

// learn takes in what a plugin tells of its devices. With that it serves, in place of the one before it.
func (l *Loop) learn(ctx context.Context, s *server, devices map[string]allocate.Device) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.resources[s.resource]
	switch {
	case r.server == s && maps.Equal(r.devices, devices):
		return
	case r.server == s:
	case r.coming == s:
		if r.server != nil {
			r.server.stop()
		}
		r.server, r.coming, r.gone, r.why = s, nil, false, ""
		r.serial++
		healthy := 0
		for _, d := range devices {
			if d.Healthy {
				healthy++
			}
		}
		l.cfg.Log.Info("a device plugin serves", "resource", s.resource, "socket", s.socket, "devices", len(devices), "healthy", healthy)
		if l.cfg.Remember != nil {
			if err := l.cfg.Remember(ctx, s.resource); err != nil && ctx.Err() == nil {
				l.cfg.Log.Error("that a resource is one of device plugins cannot be remembered", "resource", s.resource, "err", err)
			}
		}
	default: // another one has come
		return
	}
	r.devices = devices
	l.publish()
}

// leave notes that a plugin has gone.
func (l *Loop) leave(ctx context.Context, s *server, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.resources[s.resource]
	switch {
	case r.server == s:
		r.server = nil
		r.until = time.Now().Add(l.cfg.Patience)
		r.why = "it has gone"
		if err != nil && ctx.Err() == nil {
			r.why += ": " + err.Error()
		}
		l.cfg.Log.Warn("a device plugin has gone", "resource", s.resource, "socket", s.socket, "err", err)
	case r.coming == s:
		r.coming = nil
		if r.server == nil {
			r.why = "it has registered, and gone before it told of its devices"
			if err != nil && ctx.Err() == nil {
				r.why += ": " + err.Error()
			}
		}
		l.cfg.Log.Warn("a device plugin has gone that had registered", "resource", s.resource, "socket", s.socket, "err", err)
	default:
		return
	}
	l.publish()
	l.wake()
}

// close ends the connection to a plugin.
func (l *Loop) close(s *server) {
	if s.plugin == nil {
		return
	}
	if err := s.plugin.Close(); err != nil {
		l.cfg.Log.Warn("the connection to a device plugin does not end", "resource", s.resource, "err", err)
	}
}
