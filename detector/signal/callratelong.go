package signal

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/schemas"
)

// callRateLong is the number of events over a long window, faded with a half-life
// of 12 hours, against the same sum of what was expected: a raised rate that no
// single hour gives away. Gamma tail with matched moments; the variance holds the
// error of the level and the weekday once, common to all hours. Unit: calls.
type callRateLong struct{}

func (callRateLong) Info() Info {
	return Info{
		Name: schemas.SignalCallRateLong, Family: FamilyRate, Unit: "calls", Weight: weightCallRateLong, TestsPerDay: testsOfLong, Daily: true,
		Title: "More calls over the last day than this agent makes",
		Model: "gamma tail, moments matched to the sum of what was expected of the hours",
		File:  "callratelong.go",
	}
}

func (callRateLong) Score(c *Context) float64 {
	if c.Win == nil || c.Win.Rate.Mu == 0 || c.Own.Rate.Hours < longHours {
		return 0
	}
	seen, mean, variance := c.Own.Rate.Long(c.Win.Rate, float64(c.Win.Events))
	if d := seen - mean; d <= 0 || d*d <= variance {
		return 0
	}
	return longTail(c, seen, mean, variance)
}

func (callRateLong) Tail(c *Context, v float64) float64 {
	_, mean, variance := c.Own.Rate.Long(c.Win.Rate, float64(c.Win.Events))
	return longTail(c, v, mean, variance)
}

// longTail grants an agent in its first days the two runs that the window can hold
// at most: its busiest hour, today's and what is left of yesterday's.
func longTail(c *Context, v, mean, variance float64) float64 {
	x := score.Gamma(v, mean, variance)
	if p := 2 * c.Win.Rate.Peak; p > mean {
		x = min(x, score.Gamma(v, p, variance+float64(peakOverdispersion*p*p)))
	}
	return x
}

func (s callRateLong) Observe(c *Context) Detail {
	d, _ := s.Close(c)
	return d
}

func (s callRateLong) Explain(c *Context) Detail {
	d, _ := s.Close(c)
	d.Text = "made many calls over the last day, " + Count(d.Observed) + " if each counts half after 12 hours" + c.usually(d.Baseline, "its days") + Count(d.High) + ", " + Count(d.Expected) + " expected"
	return d
}

func (callRateLong) Close(c *Context) (Detail, bool) {
	if c.Win.Rate.Mu == 0 || c.Own.Rate.Hours < longHours {
		return Detail{}, false
	}
	seen, mean, variance := c.Own.Rate.Long(c.Win.Rate, float64(c.Win.Events))
	const seconds = 24 * hourSeconds
	return Detail{
		Observed: seen, Expected: mean, High: math.Ceil(score.GammaQuantile(intervalDecades, mean, variance)),
		Start: c.hour() - (seconds-hourSeconds)*1000, Seconds: seconds, Samples: float64(c.Own.Rate.Hours),
		Baseline: c.whose(float64(c.Own.Rate.Hours)),
	}, true
}
