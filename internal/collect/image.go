package collect

import (
	"cmp"
	"errors"
	"math/bits"
	"slices"
	"time"
)

// Image is an image as the runtime tells of it.
type Image struct {
	// ID identifies the content.
	ID string
	// Names are its tags and digests; an image that another one has taken the tags of has none.
	Names []string
	// Size is in bytes, as the runtime counts it: layers that images share count for each.
	Size int64
	// Pinned tells that the runtime needs the image itself.
	Pinned bool
}

// Used are images that are in use, each by its ID or by one of its names.
type Used map[string]bool

// Has tells whether an image is in use.
func (u Used) Has(i Image) bool {
	return u[i.ID] || slices.ContainsFunc(i.Names, func(name string) bool { return u[name] })
}

// Record is what is remembered of an image while the agent lives.
type Record struct {
	// Found is when it was first seen; zero if it was there before the agent was.
	Found time.Time
	// Used is when it was last seen in use; zero if it never was.
	Used time.Time
}

// Memory holds the records of the images that are there, by ID.
type Memory map[string]Record

// Look is memory after another look at the images. The first look, at no memory, finds what was there before the agent.
func (m Memory) Look(images []Image, used Used, now time.Time) Memory {
	out := make(Memory, len(images))
	for _, i := range images {
		r, known := m[i.ID]
		if !known && m != nil {
			r.Found = now
		}
		if used.Has(i) {
			r.Used = now
		}
		out[i.ID] = r
	}
	return out
}

// Policy says when images are collected.
type Policy struct {
	// MinAge is how long an image has to have been there; MaxAge is how long it may be there unused, 0 meaning forever.
	MinAge, MaxAge time.Duration
	// High is the use of the disk in percent at which images go until it is Low. 100 means never.
	High, Low int
	// Began is when the agent began: what was before is not remembered, so that nothing counts as unused for longer.
	Began time.Time
}

// Off tells whether images are never collected unless somebody asks.
func (p Policy) Off() bool { return p.High >= 100 && p.MaxAge <= 0 }

// Disk is the file system that images are on, in bytes.
type Disk struct{ Capacity, Available int64 }

// ErrCapacity means that the runtime cannot tell how large its disk is.
var ErrCapacity = errors.New("invalid capacity 0 on image filesystem")

// Percent is how much of the disk is used, rounded up.
func (d Disk) Percent() (int, error) {
	if d.Capacity <= 0 {
		return 0, ErrCapacity
	}
	return 100 - int(share(d.available(), 100, d.Capacity)), nil
}

func (d Disk) available() int64 { return min(max(d.Available, 0), d.Capacity) }

// share is n * times / by, which is no larger than n or times is.
func share(n, times, by int64) int64 {
	high, low := bits.Mul64(uint64(n), uint64(times))
	q, _ := bits.Div64(high, low, uint64(by))
	return int64(q)
}

// Goal is how many bytes have to go; none below the high threshold.
func (p Policy) Goal(d Disk) (int64, error) {
	percent, err := d.Percent()
	if err != nil || p.High >= 100 || percent < p.High {
		return 0, err
	}
	return max(share(d.Capacity, int64(100-p.Low), 100)-d.available(), 0), nil
}

// Unused returns the images that may go at all, in the order in which they go: those last used the longest ago first, of these
// those that came first.
func (m Memory) Unused(images []Image, used Used) []Image {
	var out []Image
	for _, i := range images {
		if !i.Pinned && !used.Has(i) {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b Image) int {
		x, y := m[a.ID], m[b.ID]
		return cmp.Or(x.Used.Compare(y.Used), x.Found.Compare(y.Found), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Old tells whether an unused image goes for its age alone.
func (p Policy) Old(r Record, now time.Time) bool {
	since := p.Began
	for _, t := range []time.Time{r.Found, r.Used} {
		if t.After(since) {
			since = t
		}
	}
	return p.MaxAge > 0 && now.Sub(since) > p.MaxAge
}

// Young tells whether an image came too lately to go: its pod may still be on its way.
func (p Policy) Young(r Record, now time.Time) bool { return now.Sub(r.Found) < p.MinAge }
