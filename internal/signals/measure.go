package signals

import (
	"context"

	"github.com/bosun-project/bosun/internal/evict"
	"github.com/bosun-project/bosun/internal/stats"
)

// below is what a directory below another one takes of the disk; nothing if it is not there. What cannot be measured to its end
// counts as far as it was.
func below(ctx context.Context, dir, name string) evict.Disk {
	bytes, inodes, _ := stats.Measure(ctx, dir, name)
	return evict.Disk{Bytes: int64(bytes), Inodes: int64(inodes)}
}
