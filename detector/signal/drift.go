package signal

import (
	"math"

	"github.com/plumbline-sec/plumbline/schemas"
)

// drift is a slow rise of the call rate against a reference that grows by at most
// 1 % a day (baseline.Drift): evidence is the CUSUM of the last days in decades.
// It is never calibrated by rank: agents that ramp would raise the threshold for
// each other. Unit: calls an hour.
type drift struct{}

func (drift) Info() Info {
	return Info{
		Name: schemas.SignalDrift, Family: FamilyRate, Unit: "calls", Weight: weightDrift, TestsPerDay: testsOfDays, Daily: true, Uncalibrated: true,
		Title: "Activity that has risen slowly for days",
		Model: "CUSUM of days against a reference that grows by at most 1 % a day (Page 1954)",
		File:  "drift.go",
	}
}

func (drift) Score(c *Context) float64 {
	if c.Win == nil {
		return 0
	}
	if x := c.Own.Rate.Drift.Sum() / math.Ln10; x >= driftLeast {
		return x
	}
	return 0
}

func (drift) Observe(c *Context) Detail {
	ref, level := c.Own.Rate.Drift.At(c.Win.Rate)
	d := c.hourly(level, ref, float64(c.Own.Rate.Hours))
	d.High = ref
	return d
}

func (s drift) Explain(c *Context) Detail {
	d := s.Observe(c)
	lead := "has become busier for days: about "
	if d.Observed <= d.Expected { // the evidence is of some days, the level of the last ones
		lead = "was busier for days and is falling back: about "
	}
	d.Text = lead + Count(d.Observed) + " calls in such an hour lately, " +
		Count(d.Expected) + " by a reference that may grow by 1 % a day"
	return d
}

func (s drift) Close(c *Context) (Detail, bool) {
	if s.Score(c) == 0 {
		return Detail{}, false
	}
	return s.Observe(c), true
}
