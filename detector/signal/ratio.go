package signal

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/schemas"
)

// ratio is how many calls of the open hour are of a kind that should be rare:
// failed or denied (failure_ratio), cut or partly unreadable (malformed). Expected
// is the agent's ratio of them, shrunk to the peers', times the calls: those of
// the whole hour while fewer have come (baseline.Ratio, baseline.Rate), so that an
// hour that begins with a failure is no surprise. Negative binomial tail, mid-p.
// Unit: calls.
type ratio struct{ malformed bool }

const minRatio = 3 // calls

func (s ratio) Info() Info {
	if s.malformed {
		return Info{
			Name: schemas.SignalMalformed, Family: FamilyInput, Unit: "events", Share: 0.1, Blocks: 24,
			Title: "Far more malformed events than this agent sends",
		}
	}
	return Info{
		Name: schemas.SignalFailureRatio, Family: FamilyFailure, Unit: "calls", Share: 0.05, Blocks: 24,
		Title: "Far more failed or denied calls than this agent has",
	}
}

func (s ratio) count(w *baseline.Window) float64 {
	if s.malformed {
		return float64(w.Malformed)
	}
	return float64(w.Failures + w.Denied)
}

func (s ratio) at(c *Context) baseline.RatioAt {
	calls := max(float64(c.Win.Events), c.Win.Rate.Mu)
	if s.malformed {
		return c.Own.Malformed.At(&c.Peers.Malformed, calls)
	}
	return c.Own.Failed.At(&c.Peers.Failed, calls)
}

// Score looks at the calls of the kind only: with each of the others the evidence
// would fall a little.
func (s ratio) Score(c *Context) float64 {
	if c.Win == nil || s.malformed && !c.Ev.Flags.Malformed() || !s.malformed && c.Ev.Succeeded() {
		return 0
	}
	n := s.count(c.Win)
	if n < minRatio {
		return 0
	}
	return s.Tail(c, n)
}

func (s ratio) Tail(c *Context, v float64) float64 {
	a := s.at(c)
	return score.Counts(v, a.Mu, a.Over)
}

func (s ratio) Observe(c *Context) Detail {
	samples := c.Own.Failed.Calls()
	if s.malformed {
		samples = c.Own.Malformed.Calls()
	}
	return Detail{
		Observed: s.count(c.Win), Expected: s.at(c).Mu,
		Start: c.hour(), Seconds: hourSeconds, Samples: samples,
	}
}

func (s ratio) Explain(c *Context) Detail {
	d := s.Observe(c)
	d.High = math.Ceil(score.Quantile(func(v float64) float64 { return s.Tail(c, v) }, interval, d.Expected, 40))
	kind := "failed or denied"
	switch {
	case s.malformed:
		kind = "malformed"
	case c.Win.Denied == 0:
		kind = "failed"
	case c.Win.Failures == 0:
		kind = "denied"
	}
	d.Text = "had " + Count(d.Observed) + " of its " + Plural(float64(c.Win.Events), "call", "calls") + " " + kind + " since " +
		c.hour().Time().Format("15:04") + " UTC; 99.9 % of such hours stay under " + Count(d.High) + ", " + Count(d.Expected) + " expected"
	return d
}

func (s ratio) Close(c *Context) (Detail, bool) {
	d := s.Observe(c)
	if d.Observed == 0 || d.Expected == 0 {
		return Detail{}, false
	}
	a := s.at(c)
	d.High = math.Ceil(score.GammaQuantile(interval, a.Mu, a.Mu+float64(a.Over*a.Mu*a.Mu)))
	return d, true
}
