package main

import (
	"math"
	"slices"
)

// quantile is the value below which a share of the values lies, between neighbours by proportion; NaN without values.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	at := share * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// fast is what the work takes when little else goes on.
func fast(values []float64) float64 { return quantile(values, 0.1) }
