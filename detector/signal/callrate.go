package signal

import (
	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/schemas"
)

// callRate is the number of events in the open hour against what the whole hour
// should have: over-dispersed counts with level x hour x weekday factors shrunk to
// the peers (baseline.Rate), negative binomial tail, mid-p. Unit: calls an hour.
type callRate struct{}

func (callRate) Info() Info {
	return Info{
		Name: schemas.SignalCallRate, Family: FamilyRate, Unit: "calls", Weight: weightCallRate, TestsPerDay: testsOfHours,
		Title: "Far more calls than this agent makes",
		Model: "negative binomial tail, mid-p, of level x hour x weekday, each shrunk to the peers",
		File:  "callrate.go",
	}
}

func (s callRate) Score(c *Context) float64 {
	if c.Win == nil || float64(c.Win.Events) <= c.Win.RateFrom {
		return 0
	}
	return s.Tail(c, float64(c.Win.Events))
}

// Tail is the evidence against what is expected. In an agent's first days that against the
// busiest hour it has had counts where it is smaller. Later a run that begins an hour early
// or ends an hour late explains what a busier hour beside this one would have had.
func (callRate) Tail(c *Context, v float64) float64 {
	r := &c.Win.Rate
	x := score.Counts(v, r.Mu, r.Overdispersion)
	if r.Peak > r.Mu {
		x = min(x, peakRarity+score.Counts(v, r.Peak, peakOverdispersion))
	}
	if r.Near > 0 && x > nearRarity {
		x = score.Either(x, nearRarity+score.Counts(v, r.Near, r.NearOverdispersion))
	}
	return x
}

func (s callRate) Explain(c *Context) Detail {
	d := s.Observe(c)
	if d.Expected > 0 {
		d.High = highOf(c, s, d.Expected)
	}
	d.Text = "made " + Plural(d.Observed, "call", "calls") + " since " + c.hour().Time().Format("15:04") +
		" UTC" + c.usually(d.Baseline, "such hours") + Count(d.High) + ", " + Count(d.Expected) + " expected"
	return d
}

func (callRate) Observe(c *Context) Detail {
	return c.hourly(float64(c.Win.Events), c.Win.Rate.Mu, float64(c.Own.Rate.Hours))
}

func (s callRate) Close(c *Context) (Detail, bool) {
	d := s.Observe(c)
	if d.Expected > 0 {
		mu := d.Expected
		variance := max(baseline.CountVariance(mu, c.Win.Rate.Overdispersion), minCountVar)
		d.High = score.GammaQuantile(intervalDecades, mu, variance)
	}
	return d, true
}
