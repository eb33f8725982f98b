// Package baseline holds the rolling statistics of agents and of their peers, one
// statistic one file.
//
// It owns what is remembered; what is made of it is package signal's, and how
// rare that is package score's. Invariants:
//
//  1. Nothing here grows without a bound: every set, ring and table has a hard cap.
//  2. Time is handed in; nothing reads a clock. Old evidence fades with a half-life.
//  3. No statistic depends on the order of a Go map: what must be walked is a slice.
//  4. One sample moves a statistic by a bounded step (winsorised at 4 standard
//     deviations), so that one huge sample does not widen the band for the next.
//  5. A product that is added to something is rounded first (float64(a*b)): with or
//     without fused multiply-add the same bits come out.
//
// The package imports the standard library and detector/internal/wire only.
package baseline

import "math"

// Decay returns what is left of a weight after hours with the given half-life.
func Decay(hours int64, halfLife HalfLife) float64 {
	if hours <= 0 {
		return 1
	}
	if hours == 1 {
		switch float64(halfLife) {
		case float64(HalfLifeLevel):
			return fadeLevel
		case float64(HalfLifeHour):
			return fadeHour
		case float64(HalfLifeWeekday):
			return fadeWeekday
		}
	}
	return math.Exp2(-float64(hours) / float64(halfLife))
}

func sq(x float64) float64 { return float64(x * x) }

// fadeDay lets the sums of a group age by a day.
func fadeDay(sums ...*float64) {
	for _, s := range sums {
		*s *= priorDailyFade
	}
}

// CountVariance is the variance of an overdispersed count: negative binomial.
func CountVariance(mu, overdispersion float64) float64 {
	return mu + float64(overdispersion*mu*mu)
}

// An hour's decay is wanted at every closed window: worked out once.
var (
	fadeLevel   = math.Exp2(-1 / float64(HalfLifeLevel))
	fadeHour    = math.Exp2(-1 / float64(HalfLifeHour))
	fadeWeekday = math.Exp2(-1 / float64(HalfLifeWeekday))
	fadeLong    = math.Exp2(-1 / float64(halfLifeLong))
)
