package image

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// Ingests tells what the runtime is downloading now.
type Ingests interface {
	List(ctx context.Context) ([]Ingest, error)
}

// Ingest is one download in progress: a layer, a manifest or a configuration.
type Ingest struct {
	// Ref names the download, such as layer-sha256:….
	Ref string
	// Offset is how many bytes are there, Total how many there will be; Total is 0 if that is not known.
	Offset, Total int64
	// Updated is when the last bytes came; an abandoned download keeps an old time.
	Updated time.Time
}

// Progress is a look at the pulls in flight.
type Progress struct {
	// Pulls are in the order in which they were asked for.
	Pulls []Pull
	// Done and Total count the bytes of all pulls of which the runtime has told so far; Total grows as it learns of
	// more layers. Both are 0 if nothing is known.
	Done, Total int64
}

// Pull is one pull in flight.
type Pull struct {
	Image string
	// Since is when the first caller asked; Began is when the runtime was asked, zero while the pull is queued.
	Since, Began time.Time
	// Waiters is how many callers wait for it.
	Waiters int
	// Done and Total are as in Progress; 0 unless this is the only pull that is running, because the runtime does
	// not tell which download is for which image.
	Done, Total int64
}

// Progress looks at the pulls in flight. An error tells only that bytes are not known; the rest holds.
func (p *Puller) Progress(ctx context.Context) (Progress, error) {
	var ingests []Ingest
	var err error
	if p.ingests != nil && p.busy() {
		if ingests, err = p.ingests.List(ctx); err != nil {
			err = fmt.Errorf("list downloads: %w", err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var out Progress
	var first time.Time
	running := 0
	for _, f := range p.flights {
		out.Pulls = append(out.Pulls, Pull{Image: f.image, Since: f.since, Began: f.began, Waiters: f.waiters})
		if f.began.IsZero() {
			continue
		}
		running++
		if first.IsZero() || f.began.Before(first) {
			first = f.began
		}
	}
	if running > 0 && err == nil && p.ingests != nil {
		p.meter.read(ingests, first)
	}
	out.Done, out.Total = p.meter.sum()
	slices.SortFunc(out.Pulls, func(a, b Pull) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Image, b.Image))
	})
	if running == 1 {
		for i := range out.Pulls {
			if !out.Pulls[i].Began.IsZero() {
				out.Pulls[i].Done, out.Pulls[i].Total = out.Done, out.Total
			}
		}
	}
	return out, err
}

func (p *Puller) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.flights) > 0
}

// meter adds up downloads. The runtime forgets a download when it is complete, so the meter remembers it, else the
// sum would go backwards. It begins anew whenever no pull is in flight.
type meter struct {
	seen map[string]Ingest
}

// slack is how much older than the pull the time of a download may look: file times are taken from a coarser clock.
const slack = 20 * time.Millisecond

// read takes in a list. Downloads untouched since before the first pull began are left over from an earlier life.
func (m *meter) read(now []Ingest, first time.Time) {
	if m.seen == nil {
		m.seen = map[string]Ingest{}
	}
	listed := map[string]bool{}
	for _, in := range now {
		if in.Total <= 0 || in.Updated.Before(first.Add(-slack)) {
			continue
		}
		listed[in.Ref] = true
		in.Offset = min(max(in.Offset, 0), in.Total)
		m.seen[in.Ref] = in
	}
	for ref, in := range m.seen {
		if !listed[ref] { // no longer listed: complete
			in.Offset = in.Total
			m.seen[ref] = in
		}
	}
}

func (m *meter) sum() (done, total int64) {
	for _, in := range m.seen {
		done += in.Offset
		total += in.Total
	}
	return done, total
}
