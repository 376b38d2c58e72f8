package containerlog

import (
	"bufio"
	"errors"
	"io"
	"time"
)

// errLimit ends a copy whose limit of bytes is reached.
var errLimit = errors.New("limit of bytes reached")

// mostHeld bounds, in bytes, how much of a line that has not ended is held back to be shown in one piece.
const mostHeld = 256 << 10

// writer shows pieces as lines.
type writer struct {
	out        *bufio.Writer
	timestamps bool
	since      time.Time
	stream     string // the only one that is shown; empty for both
	left       int64  // bytes that may still be written; negative for no limit
	open       map[string]*line
}

// line is a line of one stream whose end has not come yet.
type line struct {
	at      time.Time
	text    []byte
	shown   bool // its beginning was written already, because it is too long to hold
	skipped bool // it is older than what is asked for
}

func newWriter(out io.Writer, o Options) *writer {
	w := &writer{
		out: bufio.NewWriterSize(out, 32<<10), timestamps: o.Timestamps, since: o.Since, stream: o.Stream,
		left: -1, open: map[string]*line{},
	}
	if o.LimitBytes > 0 {
		w.left = o.LimitBytes
	}
	return w
}

// add takes the next piece.
func (w *writer) add(p piece) error {
	if w.stream != "" && p.stream != w.stream {
		return nil
	}
	l := w.open[p.stream]
	if l == nil {
		l = &line{at: p.at, skipped: p.at.Before(w.since)}
		if p.partial {
			w.open[p.stream] = l
		}
	}
	if l.skipped {
		if !p.partial {
			delete(w.open, p.stream)
		}
		return nil
	}
	if p.partial {
		l.text = append(l.text, p.text...)
		if len(l.text) < mostHeld {
			return nil
		}
		return w.begin(l)
	}
	delete(w.open, p.stream)
	if err := w.begin(l); err != nil {
		return err
	}
	return w.write(p.text, newline)
}

var newline = []byte{'\n'}

// begin writes what is held of a line.
func (w *writer) begin(l *line) error {
	var stamp []byte
	if w.timestamps && !l.shown && !l.at.IsZero() {
		stamp = append(l.at.AppendFormat(nil, timeLayout), ' ')
	}
	l.shown = true
	err := w.write(stamp, l.text)
	l.text = nil
	return err
}

// raw shows a physical line that is in no known format. It has no time, so it is left out when a time is asked for.
func (w *writer) raw(text []byte) error {
	if !w.since.IsZero() || w.stream != "" {
		return nil
	}
	return w.write(text, newline)
}

// finish writes lines whose end never came.
func (w *writer) finish() error {
	for _, stream := range []string{Stdout, Stderr} {
		if l := w.open[stream]; l != nil && !l.skipped && len(l.text) > 0 {
			if err := w.begin(l); err != nil {
				return err
			}
		}
	}
	return w.out.Flush()
}

func (w *writer) write(texts ...[]byte) error {
	for _, text := range texts {
		cut := w.left >= 0 && int64(len(text)) >= w.left
		if cut {
			text = text[:w.left]
		}
		if _, err := w.out.Write(text); err != nil {
			return err
		}
		if w.left >= 0 {
			w.left -= int64(len(text))
		}
		if cut {
			return errLimit
		}
	}
	return nil
}
