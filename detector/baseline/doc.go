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

// Half-lives of what is remembered, in hours.
const (
	HalfLifeLevel   = 14 * 24
	HalfLifeHour    = 21 * 24
	HalfLifeWeekday = 42 * 24
	halfLifeVolume  = 14 * 24
	halfLifeNovelty = 28 * 24
	halfLifeBreadth = 14 * 24
	halfLifeLong    = 12
)

// Decay returns what is left of a weight after hours with the given half-life.
func Decay(hours int64, halfLife float64) float64 {
	if hours <= 0 {
		return 1
	}
	if hours == 1 {
		switch halfLife {
		case 14 * 24:
			return fade14
		case 21 * 24:
			return fade21
		case 42 * 24:
			return fade42
		}
	}
	return math.Exp2(-float64(hours) / halfLife)
}

func sq(x float64) float64 { return float64(x * x) }

// An hour's decay is wanted at every closed window: worked out once.
var (
	fade14 = math.Exp2(-1.0 / (14 * 24))
	fade21 = math.Exp2(-1.0 / (21 * 24))
	fade42 = math.Exp2(-1.0 / (42 * 24))
)
