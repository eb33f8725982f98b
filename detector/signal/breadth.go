package signal

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/schemas"
)

// resourceBreadth is the number of resources that the agent touches for the first
// time in the open hour: a sweep. Negative binomial around the agent's own mean
// of its active hours, shrunk to that of its peers (young and mature apart).
// Unit: resources.
type resourceBreadth struct{}

func (resourceBreadth) Info() Info {
	return Info{
		Name: schemas.SignalResourceBreadth, Family: FamilyResource, Unit: "resources", Counted: "resources touched for the first time", Weight: weightBreadth, TestsPerDay: testsOfHours,
		Title: "Sweep across resources new to this agent",
		Model: "negative binomial tail, mid-p, around the agent's own mean and spread of hours with calls, shrunk to the peers",
		File:  "breadth.go",
	}
}

func (s resourceBreadth) Score(c *Context) float64 {
	if c.Win == nil || len(c.NewItems) == 0 {
		return 0
	}
	n := float64(c.Win.NewResources + c.Win.NewDestinations)
	if n < minBreadth {
		return 0
	}
	return s.Tail(c, n)
}

func (resourceBreadth) Tail(c *Context, v float64) float64 {
	mean, overdispersion := c.Own.Breadth.At(&c.Peers.Breadth, c.Young)
	return score.Counts(v, mean, overdispersion)
}

func (resourceBreadth) Observe(c *Context) Detail {
	mean, _ := c.Own.Breadth.At(&c.Peers.Breadth, c.Young)
	return c.hourly(float64(c.Win.NewResources+c.Win.NewDestinations), mean, c.Own.Breadth.Hours())
}

func (s resourceBreadth) Explain(c *Context) Detail {
	d := s.Observe(c)
	d.High = highOf(c, s, d.Expected)
	d.Text = "touched " + Count(d.Observed) + " resources for the first time since " + c.hour().Time().Format("15:04") +
		" UTC" + c.usually(d.Baseline, "its hours") + Count(d.High) + ", " + Count(d.Expected) + " expected"
	for i := range c.NewItems {
		if len(d.FirstSeen) < schemas.MaxEvidence && c.NewItems[i].Item.Kin != "" {
			d.FirstSeen = append(d.FirstSeen, itemName(c.NewItems[i].Item))
		}
	}
	return d
}

func (s resourceBreadth) Close(c *Context) (Detail, bool) {
	d := s.Observe(c)
	if d.Observed == 0 || d.Expected == 0 {
		return Detail{}, false
	}
	mean, overdispersion := c.Own.Breadth.At(&c.Peers.Breadth, c.Young)
	d.High = math.Ceil(score.GammaQuantile(intervalDecades, mean, baseline.CountVariance(mean, overdispersion)))
	return d, true
}
