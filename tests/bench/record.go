package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"text/tabwriter"
	"time"
)

// record lets Bosun make and end one pod of each kind through a recorder and makes recipes of what it asked for. The agent
// that build makes speaks to the runtime at a socket, and has its files in the directory that build tells.
func (b *bench) record(ctx context.Context, s *setting, p *part, build func(socket string) (agent, string, error)) (map[kind]*recipe, error) {
	r, err := newRecorder(s.bed.Socket)
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(s.bed.Dir, p.journal.part+"-recorder.sock")
	var serving sync.WaitGroup
	defer serving.Wait()
	serving.Go(func() {
		if err := r.serve(socket); err != nil {
			s.fail(fmt.Errorf("recorder: %w", err))
		}
	})
	defer r.close()

	recorded, root, err := build(socket)
	if err != nil {
		return nil, err
	}
	recipes := map[kind]*recipe{}
	err = b.turn(ctx, p, recorded, func() error {
		for _, w := range p.works {
			if recipes[w.kind], err = b.recordOne(ctx, r, p, recorded, root, w); err != nil {
				return err
			}
		}
		return nil
	})
	return recipes, err
}

func (b *bench) recordOne(ctx context.Context, r *recorder, p *part, recorded agent, root string, w work) (*recipe, error) {
	pods := b.names.next(1)
	up, err := b.up(ctx, recorded, w.kind, pods)
	if err != nil {
		return nil, err
	}
	ups := r.since(up.asked)
	made, err := learn(pods[0], root, ups)
	if err != nil {
		return nil, err
	}
	down, err := b.down(ctx, recorded, pods)
	if err != nil {
		return nil, err
	}
	downs := r.since(down.asked)
	if err := made.stopsWith(downs); err != nil {
		return nil, err
	}
	if b.options.trace {
		writeTrace(w.start.name, up.asked, recorded.there(up.pods[0]), ups)
		writeTrace(w.remove.name, down.asked, recorded.gone(down.pods[0]), downs)
	}
	if w.kind != plain {
		return made, nil
	}
	// A floor makes three calls each way.
	for _, f := range []judgement{
		{"CRI calls to start one pod", recorded.name(), float64(len(ups)), 0, "calls"},
		{"CRI calls to end one pod", recorded.name(), float64(len(downs)), 0, "calls"},
	} {
		if err := p.state(f); err != nil {
			return nil, err
		}
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
