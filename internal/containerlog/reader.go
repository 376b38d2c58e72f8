package containerlog

import (
	"bytes"
	"errors"
	"io"
	"os"
)

const (
	// block is how much is read from a file at once, in bytes.
	block = 64 << 10
	// mostLine bounds a physical line, in bytes; a longer one is taken in parts.
	mostLine = 1 << 20
)

// reader takes physical lines from one file that may still grow.
type reader struct {
	file *os.File
	// at is how far the file was read; buf holds what was read and not yet taken.
	at  int64
	buf []byte
	// inside is the head of a physical line too long to be taken at once; the next bytes go on with it.
	inside *piece
}

// lines hands on all complete physical lines that are there. A file that was truncated is read from its beginning.
func (r *reader) lines(w *writer) error {
	if info, err := r.file.Stat(); err == nil && info.Size() < r.at {
		r.at, r.buf, r.inside = 0, nil, nil
	}
	chunk := make([]byte, block)
	for {
		n, err := r.file.ReadAt(chunk, r.at)
		r.at += int64(n)
		r.buf = append(r.buf, chunk[:n]...)
		if err := r.take(w); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// take hands on the complete lines in the buffer, and the part of one that is too long.
func (r *reader) take(w *writer) error {
	rest := r.buf
	for {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		if err := r.line(w, rest[:i], true); err != nil {
			return err
		}
		rest = rest[i+1:]
	}
	if len(rest) >= mostLine {
		if err := r.line(w, rest, false); err != nil {
			return err
		}
		rest = nil
	}
	r.buf = append(r.buf[:0], rest...)
	return nil
}

// line hands on one physical line, or a part of one.
func (r *reader) line(w *writer, text []byte, complete bool) error {
	if r.inside != nil { // the rest of a line whose head is known
		p := *r.inside
		p.text, p.partial = text, p.partial || !complete
		if complete {
			r.inside = nil
		}
		return w.add(p)
	}
	p, ok := parse(text)
	switch {
	case !ok:
		return w.raw(text)
	case !complete:
		head := piece{at: p.at, stream: p.stream, partial: p.partial}
		r.inside = &head
		p.partial = true
	}
	return w.add(p)
}

// end hands on what follows the last newline: half a line, left by a writer that died.
func (r *reader) end(w *writer) error {
	rest := r.buf
	r.buf = nil
	if len(rest) == 0 {
		return nil
	}
	if r.inside == nil {
		if p, ok := parse(rest); ok {
			p.partial = true // shown without a newline of our own
			return w.add(p)
		}
		return nil // not even its head is whole
	}
	p := *r.inside
	p.text, p.partial = rest, true
	return w.add(p)
}

// tail finds where the last n lines of the container begin. It reads backwards in blocks. A line in parts counts once.
func tail(file io.ReaderAt, size, n int64) (int64, error) {
	if n <= 0 {
		return size, nil
	}
	var (
		found int64
		last  = true // no physical line has been met yet
		after []byte // what is known of the one whose start has not been found yet
		end   = size // where that one ends
		buf   = make([]byte, min(block, size))
	)
	for from := size; from > 0; {
		length := min(from, block)
		from -= length
		if _, err := file.ReadAt(buf[:length], from); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		rest := buf[:length]
		for i := bytes.LastIndexByte(rest, '\n'); i >= 0; i = bytes.LastIndexByte(rest, '\n') {
			start := from + int64(i) + 1
			if start < size { // else it is the newline at the end of the file
				if ends(prepend(rest[i+1:], after), last) {
					if found == n {
						return end, nil
					}
					found++
				}
				last = false
			}
			after, end, rest = nil, start, rest[:i]
		}
		after = prepend(rest, after)
	}
	if found == n && ends(after, last) {
		return end, nil
	}
	return 0, nil
}

// ends tells whether a physical line is the last part of a line. The very last one of a file is, whatever it says.
func ends(text []byte, last bool) bool {
	p, ok := parse(text)
	return last || !ok || !p.partial
}

func prepend(text, to []byte) []byte {
	joined := append(append(make([]byte, 0, len(text)+len(to)), text...), to...)
	return joined[:min(len(joined), mostLine)]
}
