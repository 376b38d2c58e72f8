package stats

import "context"

// Measure adds up what a directory below another one, and all in it, take of their file system, for those who cannot do with an
// older measurement. No link leads it astray, whatever is in there. With an error it gives what it found until then.
func Measure(ctx context.Context, root, name string) (bytes, inodes uint64, err error) {
	u, err := measurePlace(ctx, place{root, name})
	return u.bytes, u.inodes, err
}
