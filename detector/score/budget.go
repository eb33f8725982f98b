package score

import "math"

// Budget is the number of false alerts that an agent-day may cost: it is the
// threshold.
type Budget float64

// Crossed reports whether a surprise (-log10 of lambda) is an alert.
func (b Budget) Crossed(surprise float64) bool { return surprise >= b.Threshold() }

// Threshold is the surprise at which an alert begins.
func (b Budget) Threshold() float64 { return -math.Log10(float64(b)) }

// Score maps a surprise to 0-100: 50 is the budget's threshold, a decade is 10.
func (b Budget) Score(surprise float64) float64 {
	return math.Min(math.Max(50+float64(10*(surprise-b.Threshold())), 0), 100)
}
