package signals

import (
	"context"
	"syscall"

	"github.com/bosun-project/bosun/internal/evict"
	"github.com/bosun-project/bosun/internal/safepath"
)

// below is what a directory below another one takes of the disk; nothing if it is not there. What is in it is up to a tenant.
func (r *Reader) below(ctx context.Context, dir, name string) (d evict.Disk) {
	root, err := safepath.Open(dir)
	if err != nil {
		return d
	}
	defer root.Close()
	_ = root.Walk(ctx, name, func(e safepath.Entry) error {
		if s, ok := e.Info.Sys().(*syscall.Stat_t); ok {
			d = d.Add(evict.Disk{Bytes: s.Blocks * 512, Inodes: 1})
		}
		return nil
	})
	return d
}
