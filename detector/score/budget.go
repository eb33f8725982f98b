package score

import "math"

// Budget is the number of false alerts that an agent-day may cost: it is the
// threshold.
type Budget struct {
	Alerts    float64 // an agent-day
	threshold float64
}

// NewBudget returns the budget of that many false alerts an agent-day.
func NewBudget(alerts float64) Budget { return Budget{alerts, -math.Log10(alerts)} }

// Crossed reports whether a surprise (-log10 of lambda) is an alert.
func (b Budget) Crossed(surprise float64) bool { return surprise >= b.threshold }

// Threshold is the surprise at which an alert begins.
func (b Budget) Threshold() float64 { return b.threshold }

// Score maps a surprise to 0-100: 50 is the budget's threshold, a decade is 10.
func (b Budget) Score(surprise float64) float64 {
	return min(max(50+float64(10*(surprise-b.threshold)), 0), 100)
}
