package cleanup

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Remains is a pod of which something was found. Namespace and Name are empty where the place does not tell.
type Remains struct {
	UID             types.UID
	Namespace, Name string
}

// Place is somewhere that pods leave things.
type Place struct {
	// Name is told to people when the place cannot be listed.
	Name string
	List func() ([]Remains, error)
}

// Config is what a Cleaner is built from.
type Config struct {
	Places []Place
	// Names are places that only tell the names of pods found elsewhere: several agents may share them, so that what is
	// there need not be this agent's.
	Names []Place
	// Tell receives everything found; it sorts out what belongs to pods that are known.
	Tell func([]Remains)
	// SweepLinks removes dead links to logs and returns how many.
	SweepLinks func(context.Context) (int, error)
	// Every is the time between two looks; zero means a minute.
	Every time.Duration
	Log   *slog.Logger
}

// Cleaner looks for remains.
type Cleaner struct{ cfg Config }

// New builds a Cleaner.
func New(cfg Config) *Cleaner {
	if cfg.Every <= 0 {
		cfg.Every = time.Minute
	}
	return &Cleaner{cfg: cfg}
}

// Run looks at once and then again and again until the context ends.
func (c *Cleaner) Run(ctx context.Context) error {
	tick := time.NewTicker(c.cfg.Every)
	defer tick.Stop()
	for {
		c.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *Cleaner) look(ctx context.Context) {
	found := map[types.UID]Remains{}
	for _, place := range c.cfg.Places {
		remains, err := place.List()
		if err != nil {
			c.cfg.Log.Warn("cannot look for what ended pods have left", "place", place.Name, "err", err)
			continue
		}
		for _, r := range remains {
			if known, ok := found[r.UID]; !ok || known.Name == "" {
				found[r.UID] = r
			}
		}
	}
	for _, place := range c.cfg.Names {
		remains, err := place.List()
		if err != nil {
			c.cfg.Log.Warn("cannot look for the names of ended pods", "place", place.Name, "err", err)
			continue
		}
		for _, r := range remains {
			if known, ok := found[r.UID]; ok && known.Name == "" {
				found[r.UID] = r
			}
		}
	}
	if len(found) > 0 {
		all := make([]Remains, 0, len(found))
		for _, r := range found {
			all = append(all, r)
		}
		c.cfg.Tell(all)
	}
	if n, err := c.cfg.SweepLinks(ctx); err != nil && ctx.Err() == nil {
		c.cfg.Log.Warn("cannot remove dead links to logs", "err", err)
	} else if n > 0 {
		c.cfg.Log.Info("removed dead links to logs", "links", n)
	}
}
