package allocate

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// CPUs is a set of logical processors by their numbers: bit n%64 of word n/64 stands for number n. The last word is never 0, so that
// equal sets are equal values; nil is the empty set. A CPUs is never changed once made.
type CPUs []uint64

// mostCPUs bounds the numbers of processors; no kernel has more.
const mostCPUs = 1 << 14

// CPUsOf is the set of these processors. Numbers that no processor can have are left out.
func CPUsOf(ids ...int) CPUs {
	var s CPUs
	for _, id := range ids {
		if id < 0 || id >= mostCPUs {
			continue
		}
		for len(s) <= id/64 {
			s = append(s, 0)
		}
		s[id/64] |= 1 << (id % 64)
	}
	return s
}

// ParseCPUs reads a list such as 0-3,8. Blanks around numbers are allowed; an empty text is the empty set.
func ParseCPUs(list string) (CPUs, error) {
	var ids []int
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := parseCPU(first)
		if err != nil {
			return nil, fmt.Errorf("list of processors %q: %w", list, err)
		}
		to := from
		if isRange {
			if to, err = parseCPU(last); err != nil {
				return nil, fmt.Errorf("list of processors %q: %w", list, err)
			}
		}
		if to < from {
			return nil, fmt.Errorf("list of processors %q: %s goes backwards", list, strings.TrimSpace(part))
		}
		for id := from; id <= to; id++ {
			ids = append(ids, id)
		}
	}
	return CPUsOf(ids...), nil
}

func parseCPU(text string) (int, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	if err != nil || n >= mostCPUs {
		return 0, errors.New(strconv.Quote(text) + " is not the number of a processor")
	}
	return int(n), nil
}

// Len is how many processors the set has.
func (s CPUs) Len() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// Empty reports whether the set has none.
func (s CPUs) Empty() bool { return len(s) == 0 }

// Has reports whether the set has this processor.
func (s CPUs) Has(id int) bool { return id >= 0 && id/64 < len(s) && s[id/64]&(1<<(id%64)) != 0 }

// All yields the numbers, the lowest first.
func (s CPUs) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, w := range s {
			for ; w != 0; w &= w - 1 {
				if !yield(64*i + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// IDs lists the numbers, the lowest first.
func (s CPUs) IDs() []int { return slices.Collect(s.All()) }

// With is the union of two sets.
func (s CPUs) With(other CPUs) CPUs {
	return combine(s, other, func(a, b uint64) uint64 { return a | b })
}

// Without is the set less what is in other.
func (s CPUs) Without(other CPUs) CPUs {
	return combine(s, other, func(a, b uint64) uint64 { return a &^ b })
}

// And is what both sets have.
func (s CPUs) And(other CPUs) CPUs {
	return combine(s, other, func(a, b uint64) uint64 { return a & b })
}

// Within reports whether all of the set is in other.
func (s CPUs) Within(other CPUs) bool { return s.Without(other).Empty() }

// Equal reports whether both sets have the same processors.
func (s CPUs) Equal(other CPUs) bool { return slices.Equal(s, other) }

func combine(a, b CPUs, op func(a, b uint64) uint64) CPUs {
	out := make(CPUs, max(len(a), len(b)))
	for i := range out {
		var x, y uint64
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		out[i] = op(x, y)
	}
	for len(out) > 0 && out[len(out)-1] == 0 {
		out = out[:len(out)-1]
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// String is the set as the kernel and the container runtime write it: 0-3,8.
func (s CPUs) String() string {
	var b strings.Builder
	ids := s.IDs()
	for i := 0; i < len(ids); {
		j := i
		for j+1 < len(ids) && ids[j+1] == ids[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(ids[i]))
		if j > i {
			b.WriteByte('-')
			b.WriteString(strconv.Itoa(ids[j]))
		}
		i = j + 1
	}
	return b.String()
}

// MarshalText is String: ledgers hold sets as people read them.
func (s CPUs) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText has written.
func (s *CPUs) UnmarshalText(text []byte) (err error) {
	*s, err = ParseCPUs(string(text))
	return err
}
