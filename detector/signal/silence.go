package signal

import (
	"math"

	"github.com/plumbline-sec/plumbline/schemas"
)

// silence is an agent that makes no call for hours in which it makes calls: stopped,
// or cut off from whoever watches it. With M calls expected in the hours that have
// ended empty and their relative variance v,
//
//	P(none) = (1 + v*M)^(-1/v)
//
// the negative binomial's zero, v common to all the hours: what makes one of them
// empty makes the next one empty too. Unit: calls.
type silence struct{}

// Silence is how long an agent has been silent.
type Silence struct {
	From               int64   // the first empty hour
	Hours              int64   // that have ended; 0: it is not silent
	Mu, Overdispersion float64 // calls expected in them, relative variance
}

func (silence) Info() Info {
	return Info{
		Name: schemas.SignalSilence, Family: FamilyRate, Unit: "calls", Weight: weightSilence, TestsPerDay: testsOfSilence,
		Title: "No calls from an agent that should be at work",
		Model: "the negative binomial's zero, one relative variance common to all the hours",
		File:  "silence.go",
	}
}

// Evidence is -log10 of the probability of no call.
func (s *Silence) Evidence() float64 {
	v := max(s.Overdispersion, silenceOverdispersion)
	return math.Log1p(v*s.Mu) / v / math.Ln10
}

func (silence) Score(c *Context) float64 {
	if c.Silence.Hours == 0 {
		return 0
	}
	return c.Silence.Evidence()
}

func (silence) Observe(c *Context) Detail {
	return Detail{
		Expected: c.Silence.Mu, Start: schemas.Millis(c.Silence.From * hourMillis), Seconds: c.Silence.Hours * hourSeconds,
		Samples: float64(c.Own.Rate.Hours),
	}
}

func (s silence) Explain(c *Context) Detail {
	d := s.Observe(c)
	d.Low, d.High = 1, d.Expected
	since := "15:04"
	if c.Silence.Hours >= 24 {
		since = "Mon 15:04"
	}
	d.Text = "has made no call since " + d.Start.Time().Format(since) + " UTC; " + Count(d.Expected) + " were expected in these " +
		Plural(float64(c.Silence.Hours), "hour", "hours")
	return d
}
