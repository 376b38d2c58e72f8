package exposition

import (
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/bosun-project/bosun/internal/usage"
)

// Encoder writes one family after the other; *expfmt.Encoder is one.
type Encoder interface {
	Encode(*dto.MetricFamily) error
}

// writer builds one family at a time and hands it on, so that not all series of a node are in memory at once. What it builds is
// overwritten by the next family.
type writer struct {
	to     Encoder
	family dto.MetricFamily
	name   string
	help   string
	kind   dto.MetricType
	chunks []*chunk
	used   int
	err    error
}

// chunk holds the parts of some series.
type chunk struct {
	metrics  [chunkSize]dto.Metric
	gauges   [chunkSize]dto.Gauge
	counters [chunkSize]dto.Counter
	values   [chunkSize]float64
	stamps   [chunkSize]int64
}

const chunkSize = 64

// begin starts a family.
func (w *writer) begin(name, help string, counter bool) {
	w.name, w.help, w.kind = name, help, dto.MetricType_GAUGE
	if counter {
		w.kind = dto.MetricType_COUNTER
	}
	w.used = 0
	w.family.Metric = w.family.Metric[:0]
}

// add adds a series to the family. Labels must be sorted by name. Without a time it has none.
func (w *writer) add(labels []*dto.LabelPair, value float64, at time.Time) {
	if w.used == len(w.chunks)*chunkSize {
		w.chunks = append(w.chunks, &chunk{})
	}
	c, i := w.chunks[w.used/chunkSize], w.used%chunkSize
	w.used++
	m := &c.metrics[i]
	m.Label, m.TimestampMs, m.Gauge, m.Counter = labels, nil, nil, nil
	c.values[i] = value
	if w.kind == dto.MetricType_COUNTER {
		c.counters[i].Value = &c.values[i]
		m.Counter = &c.counters[i]
	} else {
		c.gauges[i].Value = &c.values[i]
		m.Gauge = &c.gauges[i]
	}
	if !at.IsZero() {
		c.stamps[i] = at.UnixMilli()
		m.TimestampMs = &c.stamps[i]
	}
	w.family.Metric = append(w.family.Metric, m)
}

// number is add for a number that may be unknown.
func (w *writer) number(labels []*dto.LabelPair, n usage.Number, unit float64, at time.Time) {
	if n.Known {
		w.add(labels, float64(n.Value)*unit, at)
	}
}

// end hands the family on, if there is anything in it.
func (w *writer) end() {
	if w.err != nil || len(w.family.Metric) == 0 {
		return
	}
	w.family.Name, w.family.Help, w.family.Type = &w.name, &w.help, &w.kind
	w.err = w.to.Encode(&w.family)
}

// one writes a family of one series without labels.
func (w *writer) one(name, help string, counter bool, n usage.Number, unit float64, at time.Time) {
	w.begin(name, help, counter)
	w.number(nil, n, unit, at)
	w.end()
}

// labels makes label pairs, sorted by name, of names and values in turn.
func labels(pairs ...string) []*dto.LabelPair {
	out := make([]*dto.LabelPair, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, &dto.LabelPair{Name: &pairs[i], Value: &pairs[i+1]})
	}
	return sorted(out)
}

// with adds labels to others.
func with(base []*dto.LabelPair, more ...string) []*dto.LabelPair {
	return sorted(append(labels(more...), base...))
}

func sorted(pairs []*dto.LabelPair) []*dto.LabelPair {
	slices.SortFunc(pairs, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	return pairs
}

const (
	asIs  = 1
	nanos = 1e-9
	milli = 1e-3
)
