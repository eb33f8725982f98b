package signal

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/schemas"
)

// ratio is how many calls of the open hour are of a kind that should be rare:
// failed or denied (failure_ratio); cut, partly unreadable or under the id of another
// event (malformed); behind the agent's own windows (late). Expected is the agent's
// ratio of them, shrunk to the peers', times the calls: those of the whole hour while
// fewer have come (baseline.Ratio, baseline.Rate), so that an hour that begins with a
// failure is no surprise. Negative binomial tail, mid-p. Unit: calls.
type ratio struct{ of ratioKind }

type ratioKind int

const (
	ofFailed ratioKind = iota
	ofMalformed
	ofLate
)

func (s ratio) Info() Info {
	i := Info{
		Name: schemas.SignalFailureRatio, Family: FamilyFailure, Unit: "calls", Counted: "failed or denied calls", Weight: weightFailed, TestsPerDay: testsOfHours,
		Title: "Far more failed or denied calls than this agent has",
		Model: "negative binomial tail, mid-p, of the agent's ratio of such calls times the hour's calls",
		File:  "ratio.go",
	}
	switch s.of {
	case ofMalformed:
		i.Name, i.Counted, i.Weight = schemas.SignalMalformed, "malformed events", weightMalformed
		i.Title = "Far more malformed events than this agent sends"
	case ofLate:
		i.Name, i.Counted, i.Weight = schemas.SignalLate, "late events", weightLate
		i.Title = "Far more events with a time long past than this agent sends"
	case ofFailed:
		return i
	}
	i.Family, i.Unit = FamilyInput, "events"
	return i
}

func (s ratio) count(w *baseline.Window) float64 {
	switch s.of {
	case ofMalformed:
		return float64(w.Malformed)
	case ofLate:
		return float64(w.Late)
	case ofFailed:
	}
	return float64(w.Failures + w.Denied)
}

// baseline is what is known of such calls: the agent's, and its peers'.
func (s ratio) baseline(c *Context) (own *baseline.Ratio, peers *baseline.RatioPrior) {
	switch s.of {
	case ofMalformed:
		return &c.Own.Malformed, &c.Peers.Malformed
	case ofLate:
		return &c.Own.Late, &c.Peers.Late
	case ofFailed:
	}
	return &c.Own.Failed, &c.Peers.Failed
}

func (s ratio) at(c *Context) baseline.RatioAt {
	own, peers := s.baseline(c)
	return own.At(peers, max(float64(c.Win.Events), c.Win.Rate.Mu))
}

// is reports whether the event is of the kind.
func (s ratio) is(c *Context) bool {
	switch s.of {
	case ofMalformed:
		return c.Irregular
	case ofLate:
		return c.Late && !c.LateTogether
	case ofFailed:
	}
	return !c.Ev.Succeeded()
}

// Score looks at the calls of the kind only: with each of the others the evidence
// would fall a little.
func (s ratio) Score(c *Context) float64 {
	if c.Win == nil || !s.is(c) {
		return 0
	}
	n := s.count(c.Win)
	if n < minRatio || s.of == ofLate && n < MinLate {
		return 0
	}
	return s.Tail(c, n)
}

func (s ratio) Tail(c *Context, v float64) float64 {
	a := s.at(c)
	return score.Counts(v, a.Mu, a.Overdispersion)
}

func (s ratio) Observe(c *Context) Detail {
	own, _ := s.baseline(c)
	return c.hourly(s.count(c.Win), s.at(c).Mu, own.Calls())
}

func (s ratio) Explain(c *Context) Detail {
	d := s.Observe(c)
	d.High = highOf(c, s, d.Expected)
	kind := "failed or denied"
	switch {
	case s.of == ofMalformed:
		kind = "malformed"
	case s.of == ofLate:
		kind = "with a time before what it had sent already"
	case c.Win.Denied == 0:
		kind = "failed"
	case c.Win.Failures == 0:
		kind = "denied"
	}
	d.Text = "had " + Count(d.Observed) + " of its " + Plural(float64(c.Win.Events), "call", "calls") + " " + kind + " since " +
		c.hour().Time().Format("15:04") + " UTC" + c.usually(d.Baseline, "such hours") + Count(d.High) + ", " + Count(d.Expected) + " expected"
	return d
}

func (s ratio) Close(c *Context) (Detail, bool) {
	d := s.Observe(c)
	if d.Observed == 0 || d.Expected == 0 {
		return Detail{}, false
	}
	a := s.at(c)
	d.High = math.Ceil(score.GammaQuantile(intervalDecades, a.Mu, baseline.CountVariance(a.Mu, a.Overdispersion)))
	return d, true
}
