package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/bosun-project/bosun/internal/testbed"
)

// record lets Bosun make and end one pod through a recorder and makes a recipe of what it asked for.
func (b *bench) record(ctx context.Context, bed *testbed.Bed, image string, fail func(error)) (*recipe, error) {
	r, err := newRecorder(bed.Socket)
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(bed.Dir, "recorder.sock")
	var serving sync.WaitGroup
	defer serving.Wait()
	serving.Go(func() {
		if err := r.serve(socket); err != nil {
			fail(fmt.Errorf("recorder: %w", err))
		}
	})
	defer r.close()

	recorded, err := newBosun(b.options.bosun, filepath.Join(bed.Dir, "recorded"), socket, image, fail)
	if err != nil {
		return nil, err
	}
	var made *recipe
	var ups, downs []call
	var up, down lived
	err = b.turn(ctx, recorded, func() (err error) {
		pods := b.names.next(1)
		if up, err = b.up(ctx, recorded, pods); err != nil {
			return err
		}
		ups = r.since(up.asked)
		if made, err = learn(pods[0], recorded.root(), ups); err != nil {
			return err
		}
		if down, err = b.down(ctx, recorded, pods); err != nil {
			return err
		}
		downs = r.since(down.asked)
		return made.stopsWith(downs)
	})
	if err != nil {
		return nil, err
	}
	// A floor makes three calls each way.
	for _, f := range []judgement{
		{"CRI calls to start one pod", recorded.name(), float64(len(ups)), 0, "calls"},
		{"CRI calls to end one pod", recorded.name(), float64(len(downs)), 0, "calls"},
	} {
		if err := b.journal.state(f); err != nil {
			return nil, err
		}
	}
	if b.options.trace {
		writeTrace("start of one pod", up.asked, up.pods[0].running, ups)
		writeTrace("end of one pod", down.asked, down.pods[0].gone, downs)
	}
	return made, nil
}

func writeTrace(what string, asked, there time.Time, calls []call) {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\n%s: there after %.1f ms\tbegan\ttook\t\t\n", what, inMS(there.Sub(asked)))
	for _, c := range calls {
		took := "goes on"
		if !c.ended.IsZero() {
			took = fmt.Sprintf("%.1f", inMS(c.ended.Sub(c.began)))
		}
		failed := ""
		if c.err != nil {
			failed = c.err.Error()
		}
		fmt.Fprintf(t, "%s\t%.1f\t%s\t%s\t\n", c.method, inMS(c.began.Sub(asked)), took, failed)
	}
	_ = t.Flush() // to standard output
}
