package evict

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
)

// Amount is a quantity, or a share of what there is.
type Amount struct {
	Quantity resource.Quantity
	// Share is from 0 to 1; it counts if it is not 0.
	Share float64
}

// Of is the amount where there is this capacity, in the words of a signal.
func (a Amount) Of(s Signal, capacity int64) resource.Quantity {
	if a.Share != 0 {
		return s.quantity(int64(float64(capacity) * a.Share))
	}
	return a.Quantity
}

// Threshold is how little may be available of something.
type Threshold struct {
	Signal Signal
	Least  Amount
	// Soft thresholds make pods go only when they were met for the time of Grace; hard ones at once.
	Soft  bool
	Grace time.Duration
	// Reclaim is how much more than Least has to be available until a shortage is over (behaviour 256).
	Reclaim Amount
}

// Key tells it apart from others.
func (t Threshold) Key() Key { return Key{t.Signal, t.Soft} }

// over is what has to be available until a shortage that pods had to go for is over.
func (t Threshold) over(capacity int64) int64 {
	least, more := t.Least.Of(t.Signal, capacity), t.Reclaim.Of(t.Signal, capacity)
	return least.Value() + more.Value()
}

// Key tells thresholds apart: of each signal there is one hard and one soft one.
type Key struct {
	Signal Signal
	Soft   bool
}

// Settings are what the configuration says of evictions.
type Settings struct {
	Thresholds []Threshold
	// Hold is how long the node goes on saying that it is short after it last was (behaviour 248).
	Hold time.Duration
	// MostGrace is the most that a pod has to end for a soft threshold (behaviour 247).
	MostGrace time.Duration
}

// Texts are thresholds as the configuration has them, each by the name of its signal.
type Texts struct {
	Hard, Soft, SoftGrace, Reclaim map[string]string
}

// Parse reads thresholds. enforced tells that all pods together are held to a limit: the hard threshold for memory then also
// counts within that limit (behaviour 244). What is wrong is left out and told; the configuration's own rules find it before.
func Parse(texts Texts, enforced bool) ([]Threshold, error) {
	var out []Threshold
	var wrong []error
	for _, soft := range []bool{false, true} {
		field, set := "evictionHard", texts.Hard
		if soft {
			field, set = "evictionSoft", texts.Soft
		}
		for _, name := range slices.Sorted(maps.Keys(set)) {
			t := Threshold{Signal: Signal(name), Soft: soft}
			on, err := t.parse(set[name], texts)
			switch {
			case err != nil:
				wrong = append(wrong, fmt.Errorf("%s %s=%s: %w", field, name, set[name], err))
			case on:
				out = append(out, t)
			}
		}
	}
	if enforced {
		out = append(out, ofPods(out)...)
	}
	slices.SortStableFunc(out, func(a, b Threshold) int { return cmp.Compare(urgency[a.Signal], urgency[b.Signal]) })
	return out, errors.Join(wrong...)
}

// parse fills in a threshold. on is false for one that is switched off.
func (t *Threshold) parse(text string, texts Texts) (on bool, err error) {
	if !t.Signal.Known() {
		return false, errors.New("there is no such signal")
	}
	if text == "0%" || text == "100%" {
		return false, nil
	}
	if t.Least, err = parseAmount(text); err != nil {
		return false, err
	}
	if t.Least.Share == 0 && t.Least.Quantity.Sign() <= 0 {
		return false, errors.New(`want more than nothing; "0%" switches a signal off`)
	}
	if t.Soft {
		if t.Grace, err = time.ParseDuration(texts.SoftGrace[string(t.Signal)]); err != nil {
			return false, fmt.Errorf("needs a grace period: %w", err)
		}
	}
	if more, ok := texts.Reclaim[string(t.Signal)]; ok {
		if t.Reclaim, err = parseAmount(more); err != nil {
			return false, fmt.Errorf("evictionMinimumReclaim %s: %w", more, err)
		}
	}
	return true, nil
}

func parseAmount(text string) (Amount, error) {
	if number, ok := strings.CutSuffix(text, "%"); ok {
		// As a float32, like upstream: otherwise figures differ by some hundred bytes from those of other nodes.
		p, err := strconv.ParseFloat(number, 32)
		if err != nil || !(p >= 0 && p <= 100) { // NaN neither
			return Amount{}, errors.New("want a percentage from 0% to 100%")
		}
		return Amount{Share: float64(float32(p) / 100)}, nil
	}
	q, err := resource.ParseQuantity(text)
	if err != nil || q.Sign() < 0 {
		return Amount{}, errors.New("want an amount such as 100Mi, or a percentage")
	}
	return Amount{Quantity: q}, nil
}

// ofPods are the thresholds for the memory of all pods together that follow from those for the machine's.
func ofPods(thresholds []Threshold) []Threshold {
	for _, t := range thresholds {
		if t.Signal == PodsMemory && !t.Soft { // the configuration names it itself
			return nil
		}
	}
	for _, t := range thresholds {
		if t.Signal == MemoryAvailable && !t.Soft {
			t.Signal = PodsMemory
			return []Threshold{t}
		}
	}
	return nil
}
