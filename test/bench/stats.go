package main

import (
	"math"
	"slices"
)

// series is what was measured, in the order of measuring, and its summary.
type series struct {
	Samples []float64 `json:"samples"`
	Median  float64   `json:"median"`
	P10     float64   `json:"p10"`
	P90     float64   `json:"p90"`
	P95     float64   `json:"p95"`
	Max     float64   `json:"max"`
}

// summarize makes a series of samples; nil of none.
func summarize(samples []float64) *series {
	if len(samples) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(samples))
	return &series{
		Samples: samples,
		Median:  quantile(sorted, 0.5),
		P10:     quantile(sorted, 0.1),
		P90:     quantile(sorted, 0.9),
		P95:     quantile(sorted, 0.95),
		Max:     sorted[len(sorted)-1],
	}
}

// quantile interpolates between the two nearest of sorted.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	low, high := int(math.Floor(at)), int(math.Ceil(at))
	return sorted[low] + (sorted[high]-sorted[low])*(at-float64(low))
}
