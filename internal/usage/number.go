package usage

// Number is a count that may be unknown. Its zero value is.
type Number struct {
	Value uint64
	Known bool
}

// Of is a known number.
func Of(value uint64) Number { return Number{Value: value, Known: true} }

// Ptr is the number for those who mark what is unknown with nil.
func (n Number) Ptr() *uint64 {
	if !n.Known {
		return nil
	}
	return &n.Value
}

// Plus adds; the sum is unknown if both are, and one that is unknown counts nothing.
func (n Number) Plus(m Number) Number {
	return Number{Value: n.Value + m.Value, Known: n.Known || m.Known}
}

// Minus subtracts, and gives no less than 0; the rest is unknown if either is.
func (n Number) Minus(m Number) Number {
	if !n.Known || !m.Known {
		return Number{}
	}
	return Of(n.Value - min(n.Value, m.Value))
}

// Or is the number, or another one if it is unknown.
func (n Number) Or(m Number) Number {
	if n.Known {
		return n
	}
	return m
}
