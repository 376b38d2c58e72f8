package stats

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/bosun-project/bosun/internal/usage"
)

// files reads small files of the kernel into one buffer. It counts those that are there and cannot be read.
type files struct {
	buf    []byte
	missed int
}

// mostText bounds what is read of one file.
const mostText = 4 << 20

// read gives what is in a file until the next call; nil if it cannot be read.
func (f *files) read(path string) []byte {
	text, err := f.slurp(path)
	// A cgroup may go while it is read, and not every kernel has every file.
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EOPNOTSUPP) {
		f.missed++
	}
	return text
}

func (f *files) slurp(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if f.buf == nil {
		f.buf = make([]byte, 8<<10)
	}
	for n := 0; ; {
		got, err := unix.Read(fd, f.buf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		n += got
		if got == 0 {
			return f.buf[:n], nil
		}
		if n == len(f.buf) {
			if n >= mostText {
				return nil, io.ErrShortBuffer
			}
			f.buf = append(f.buf, make([]byte, n)...)
		}
	}
}

// number reads a file that holds one number.
func (f *files) number(path string) usage.Number { return number(bytes.TrimSpace(f.read(path))) }

// limit reads a file that holds a limit: there is none if it says so, or if it is more than any machine has.
func (f *files) limit(path string) usage.Number {
	n := f.number(path)
	if n.Value > math.MaxInt64>>1 {
		return usage.Number{}
	}
	return n
}

// keyed calls visit for each line of a file that holds a word and a number.
func (f *files) keyed(path string, visit func(key []byte, n usage.Number)) {
	keyed(f.read(path), visit)
}

func keyed(text []byte, visit func(key []byte, n usage.Number)) {
	for line := range bytes.Lines(text) {
		key, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte{' '})
		if n := number(value); ok && n.Known {
			visit(key, n)
		}
	}
}

// number reads a number without a sign; anything else is unknown.
func number(text []byte) usage.Number {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return usage.Number{}
	}
	return usage.Of(n)
}

// pressure reads a file of pressure stall information; nil if there is none.
func (f *files) pressure(path string) *usage.Pressure { return pressure(f.read(path)) }

func pressure(text []byte) *usage.Pressure {
	var p usage.Pressure
	found := false
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) == 0 {
			continue
		}
		var s usage.Stall
		for _, word := range words[1:] {
			key, value, _ := bytes.Cut(word, []byte{'='})
			switch string(key) {
			case "avg10":
				s.Avg10 = percent(value)
			case "avg60":
				s.Avg60 = percent(value)
			case "avg300":
				s.Avg300 = percent(value)
			case "total":
				s.Total = micros(number(value))
			}
		}
		switch string(words[0]) {
		case "some":
			p.Some, found = s, true
		case "full":
			p.Full, found = s, true
		}
	}
	if !found {
		return nil
	}
	return &p
}

func percent(text []byte) float64 {
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return 0
	}
	return v
}

// times multiplies, for numbers that the kernel gives in other units.
func times(n usage.Number, factor uint64) usage.Number {
	if n.Known && n.Value > math.MaxUint64/factor {
		return usage.Number{}
	}
	n.Value *= factor
	return n
}
