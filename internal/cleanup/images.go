package cleanup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/bosun-project/bosun/internal/collect"
	"github.com/bosun-project/bosun/internal/note"
	"github.com/bosun-project/bosun/internal/reason"
)

// Why images are removed, as the metric kubelet_image_garbage_collected_total says it.
const (
	ForAge   = "age"
	ForSpace = "space"
)

// ImagesConfig is what an Images is built from.
type ImagesConfig struct {
	Policy collect.Policy
	// Ready tells whether it is known what is wanted and what runs; before, nothing is removed. The channel is closed when
	// that may have changed.
	Ready func() (bool, <-chan struct{})
	// Images lists the images that the runtime has. Used tells which are in use; it is asked after them, so that what comes
	// into use meanwhile is not taken for garbage.
	Images func(context.Context) ([]collect.Image, error)
	Used   func(context.Context) (collect.Used, error)
	// Disk is the file system that images are on.
	Disk func(context.Context) (collect.Disk, error)
	// Remove removes an image, unless somebody has wished for it since what is in use was looked at; it tells whether it did.
	Remove func(ctx context.Context, i collect.Image, looked time.Time) (bool, error)
	// Removed, if set, is told of each removed image, and why; Changed after a look that removed some; Seen of all images at
	// each look, and of a moment before they were listed, so that others can forget what they know of images that are gone.
	Removed func(why string)
	Changed func()
	Seen    func(ctx context.Context, images []collect.Image, listed time.Time)
	// Trace, if set, is told of each look that begins, and what it returns of its end. What it does is done in the context returned.
	Trace func(context.Context) (context.Context, func(error))
	// Every is the time between two looks; zero means 5 minutes.
	Every time.Duration
	Notes note.Sink
	Log   *slog.Logger
}

// Images removes images that nobody uses when the disk fills up, or when they are old (behaviour 167).
type Images struct {
	cfg ImagesConfig
	// turn is held by who looks and removes.
	turn chan struct{}
	// memory and failures, the looks in a row that came to nothing, belong to who has the turn.
	memory   collect.Memory
	failures int
	// removed tells that images were removed in this turn.
	removed bool
}

// NewImages builds an Images.
func NewImages(cfg ImagesConfig) *Images {
	if cfg.Every <= 0 {
		cfg.Every = 5 * time.Minute
	}
	return &Images{cfg: cfg, turn: make(chan struct{}, 1)}
}

// Run looks as soon as it is known what is wanted, and then again and again until the context ends.
func (l *Images) Run(ctx context.Context) error {
	for {
		ready, newer := l.cfg.Ready()
		if ready {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-newer:
		}
	}
	tick := time.NewTicker(l.cfg.Every)
	defer tick.Stop()
	for {
		l.look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Collect removes, at once and whatever the disk looks like, every image that nobody uses and that is not too young, and returns
// how many bytes they had. Until it is known what is wanted it removes nothing.
func (l *Images) Collect(ctx context.Context) (int64, error) { return l.Free(ctx, math.MaxInt64) }

// Free is Collect that stops when images of as many bytes have gone as the goal says.
func (l *Images) Free(ctx context.Context, goal int64) (freed int64, err error) {
	if ready, _ := l.cfg.Ready(); !ready {
		return 0, nil
	}
	if !l.take(ctx) {
		return 0, ctx.Err()
	}
	defer l.give()
	err = l.traced(ctx, func(ctx context.Context) error {
		s, err := l.sight(ctx)
		if err == nil {
			freed, err = l.free(ctx, s, s.unused, goal)
		}
		return err
	})
	return freed, err
}

// traced does something that traces tell of.
func (l *Images) traced(ctx context.Context, do func(context.Context) error) error {
	if l.cfg.Trace == nil {
		return do(ctx)
	}
	ctx, end := l.cfg.Trace(ctx)
	err := do(ctx)
	end(err)
	return err
}

func (l *Images) take(ctx context.Context) bool {
	select {
	case l.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *Images) give() {
	if l.removed && l.cfg.Changed != nil {
		l.cfg.Changed()
	}
	l.removed = false
	<-l.turn
}

// look collects once. A first failure is only logged: the runtime may not have counted its images yet.
func (l *Images) look(ctx context.Context) {
	if !l.take(ctx) {
		return
	}
	defer l.give()
	err := l.traced(ctx, l.pass)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		l.failures = 0
	default:
		if l.failures++; l.failures > 1 {
			l.warn(reason.ImageGCFailed, err)
			return
		}
		l.cfg.Log.Warn("images could not be collected; the next try is in a while", "again", l.cfg.Every, "err", err)
	}
}

// sight is what one look has found.
type sight struct {
	looked time.Time
	// unused are the images that may go, in that order.
	unused []collect.Image
}

func (l *Images) sight(ctx context.Context) (sight, error) {
	listed := time.Now()
	images, err := l.cfg.Images(ctx)
	if err != nil {
		return sight{}, err
	}
	if l.cfg.Seen != nil {
		l.cfg.Seen(ctx, images, listed)
	}
	looked := time.Now()
	used, err := l.cfg.Used(ctx)
	if err != nil {
		return sight{}, err
	}
	l.memory = l.memory.Look(images, used, looked)
	return sight{looked: looked, unused: l.memory.Unused(images, used)}, nil
}

func (l *Images) pass(ctx context.Context) error {
	s, err := l.sight(ctx)
	if err != nil || l.cfg.Policy.Off() {
		return err
	}
	left, err := l.removeOld(ctx, s)
	if err != nil {
		return err
	}
	disk, err := l.cfg.Disk(ctx)
	if err != nil {
		return err
	}
	goal, err := l.cfg.Policy.Goal(disk)
	if errors.Is(err, collect.ErrCapacity) {
		l.warn(reason.InvalidDiskCapacity, err)
	}
	if err != nil || goal == 0 {
		return err
	}
	percent, _ := disk.Percent() // the goal could be worked out
	l.cfg.Log.Info("the disk of images is fuller than imageGCHighThresholdPercent allows; unused images go",
		"used percent", percent, "high", l.cfg.Policy.High, "low", l.cfg.Policy.Low, "bytes to free", goal)
	freed, err := l.free(ctx, s, left, goal)
	if err != nil || freed >= goal {
		return err
	}
	err = tooFull{percent: percent, capacity: disk.Capacity, freed: freed}
	l.warn(reason.FreeDiskSpaceFailed, err)
	return err
}

// removeOld removes what is too old and returns the rest.
func (l *Images) removeOld(ctx context.Context, s sight) (left []collect.Image, err error) {
	var wrong []error
	for _, i := range s.unused {
		now := time.Now()
		if r := l.memory[i.ID]; !l.cfg.Policy.Old(r, now) || l.cfg.Policy.Young(r, now) {
			left = append(left, i)
			continue
		}
		if _, err := l.remove(ctx, s, i, ForAge); err != nil {
			wrong = append(wrong, err)
		}
	}
	return left, errors.Join(wrong...)
}

// free removes images in their order until as many bytes are freed as the goal says. That the layers of some are shared with
// others is not known.
func (l *Images) free(ctx context.Context, s sight, unused []collect.Image, goal int64) (freed int64, err error) {
	var wrong []error
	for _, i := range unused {
		if freed >= goal || ctx.Err() != nil {
			break
		}
		if l.cfg.Policy.Young(l.memory[i.ID], time.Now()) {
			continue
		}
		gone, err := l.remove(ctx, s, i, ForSpace)
		switch {
		case err != nil:
			wrong = append(wrong, err)
		case gone:
			freed += i.Size
		}
	}
	if err := errors.Join(wrong...); err != nil {
		return freed, fmt.Errorf("free %d bytes of images, of which %d were: %w", goal, freed, err)
	}
	return freed, ctx.Err()
}

func (l *Images) remove(ctx context.Context, s sight, i collect.Image, why string) (bool, error) {
	gone, err := l.cfg.Remove(ctx, i, s.looked)
	if err != nil || !gone {
		return false, err
	}
	l.cfg.Log.Info("removed an unused image", "image", i.ID, "names", i.Names, "bytes", i.Size, "for", why)
	delete(l.memory, i.ID)
	l.removed = true
	if l.cfg.Removed != nil {
		l.cfg.Removed(why)
	}
	return true, nil
}

func (l *Images) warn(why string, err error) {
	l.cfg.Notes(note.Note{At: time.Now(), Level: note.Warning, Reason: why, Message: err.Error(), About: note.About{Kind: "Node"}})
}

// tooFull says, in the words that people look for, that the disk is full of other things.
type tooFull struct {
	percent         int
	capacity, freed int64
}

func (e tooFull) Error() string {
	return fmt.Sprintf("Insufficient free disk space on the node's image filesystem (%d%% of %s used). "+
		"Failed to free sufficient space by deleting unused images (freed %d bytes). "+
		"Investigate disk usage, as it could be used by active images, logs, volumes, or other data.", e.percent, size(e.capacity), e.freed)
}

// size is a number of bytes as people read it.
func size(bytes int64) string {
	n, unit := float64(bytes), 0
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for ; n >= 1024 && unit < len(units)-1; unit++ {
		n /= 1024
	}
	return fmt.Sprintf("%.1f %s", n, units[unit])
}
