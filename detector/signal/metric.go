package signal

import (
	"math"
	"strconv"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/schemas"
)

// metric is a number of calls that the config names (baseline.Metric). As a mean it
// is looked at both ways: the value, the mean of the hour so far, a jump away from
// the last values, each in standard deviations on asinh(x/unit) less what the hour
// and the weekday add, and worth what such deviations have been worth for this
// agent. As a sum the upper tail alone: the value, and the hour's sum against a
// log-normal. Unit: the config's.
type metric struct {
	index             int
	label, unit, take string
}

// metricSum has a tail beside: the larger the value, the stronger the evidence.
type metricSum struct{ metric }

// What a metric takes of its values.
const (
	TakeMean = "mean"
	TakeSum  = "sum"
)

// Metric returns the signal of the index-th metric.
func Metric(index int, name, unit, take string) Signal {
	m := metric{index, name, unit, take}
	if take == TakeSum {
		return metricSum{m}
	}
	return m
}

func (s metric) Info() Info {
	i := Info{
		Name: schemas.SignalMetric + s.label, Family: FamilyMetric, Unit: s.unit, Weight: weightMetric, TestsPerDay: testsOfCalls,
		Title: "A metric far from what this agent has: " + s.label,
		Model: "deviations on asinh(x/unit), their tail learnt for the agent (Hill 1975); of sums a log-normal",
		File:  "metric.go",
	}
	if s.take == TakeSum {
		i.Title = "Far more of a metric than this agent has: " + s.label
	}
	return i
}

// MetricValue is the value that an event has of a metric.
type MetricValue struct {
	X   float64
	Has bool
	At  baseline.MetricAt
	Sum baseline.BytesAt // expected of the hour
}

func (s metric) pick(c *Context) *MetricValue {
	if c.Win == nil || s.index >= len(c.Metrics) {
		return nil
	}
	if v := &c.Metrics[s.index]; v.Has && v.At.Unit > 0 {
		return v
	}
	return nil
}

func (s metric) Score(c *Context) float64 {
	v := s.pick(c)
	if v == nil {
		return 0
	}
	_, x := s.test(c, v)
	return x
}

// What stands out.
const (
	byValue = iota
	byHour
	byJump
)

// test returns what stands out most, and its evidence.
func (s metric) test(c *Context, v *MetricValue) (by int, x float64) {
	a := &v.At
	r := a.Of(v.X) - a.Mean
	if s.take == TakeSum {
		x = a.Value.Evidence(r / a.Scale)
		if y := s.total(v, c.Own.Metrics[s.index].Total()); y > x {
			by, x = byHour, y
		}
		return by, x
	}
	x = a.Value.Evidence(math.Abs(r) / a.Scale)
	if a.Count+1 >= fewValues {
		if y := a.Hour.Evidence(math.Abs(a.HourWith(r)) / a.HourScale); y > x {
			by, x = byHour, y
		}
	}
	if y := a.Jump.Evidence(math.Abs(r-a.Recent) / a.JumpScale); y > x {
		by, x = byJump, y
	}
	return by, x
}

// total is the evidence of the hour's sum.
func (s metric) total(v *MetricValue, sum float64) float64 {
	if v.Sum.Mean == 0 || sum < sumFrom*v.Sum.Mean {
		return 0
	}
	return score.LogNormal(sum, v.Sum.Mean, v.Sum.RelVar)
}

func (s metricSum) Tail(c *Context, x float64) float64 {
	v := s.pick(c)
	if v == nil {
		return 0
	}
	if by, _ := s.test(c, v); by == byHour {
		return s.total(v, x)
	}
	return v.At.Value.Evidence((v.At.Of(x) - v.At.Mean) / v.At.Scale)
}

func (s metric) Observe(c *Context) Detail {
	v := s.pick(c)
	if v == nil {
		return Detail{}
	}
	m, a := &c.Own.Metrics[s.index], &v.At
	d := Detail{Observed: v.X, Expected: a.X(a.Mean), Start: c.At, Samples: m.Values(), Baseline: c.whose(m.Values())}
	switch by, _ := s.test(c, v); {
	case by == byJump:
		d.Expected = a.X(a.Mean + a.Recent)
	case by == byHour && s.take == TakeSum:
		d.Start, d.Seconds = c.hour(), hourSeconds
		d.Observed, d.Expected = m.Total(), v.Sum.Mean
	case by == byHour:
		d.Start, d.Seconds = c.hour(), hourSeconds
		d.Observed = a.X(a.Mean + a.HourWith(a.Of(v.X)-a.Mean))
	}
	return d
}

func (s metric) Explain(c *Context) Detail {
	v, d := s.pick(c), s.Observe(c)
	if v == nil {
		return d
	}
	a := &v.At
	what := s.label + " of " + number(d.Observed)
	if s.unit != "" {
		what += " " + s.unit
	}
	since := " since " + c.hour().Time().Format("15:04") + " UTC"
	within := func(center, z float64) {
		d.Low, d.High = a.X(center-z), a.X(center+z)
	}
	by, _ := s.test(c, v)
	switch by {
	case byJump:
		within(a.Mean+a.Recent, a.Jump.Quantile(intervalDecades)*a.JumpScale)
		d.Text = "had " + what + " in one call, a jump from about " + number(d.Expected) + " just before; 99.9 % of its steps from there end between " +
			number(d.Low) + " and " + number(d.High)
	case byHour:
		within(a.Mean, a.Hour.Quantile(intervalDecades)*a.HourScale)
		d.Text = "had " + what + " on average" + since + "; 99.9 % of such hours have " + number(d.Low) + " to " + number(d.High) + ", " + number(d.Expected) + " expected"
	default:
		within(a.Mean, a.Value.Quantile(intervalDecades)*a.Scale)
		d.Text = "had " + what + " in one call; 99.9 % of its calls have " + number(d.Low) + " to " + number(d.High) + ", " + number(d.Expected) + " expected"
	}
	if s.take != TakeSum {
		return d
	}
	d.Low = 0
	if by == byHour {
		d.High = max(score.LogNormalQuantile(intervalDecades, v.Sum.Mean, v.Sum.RelVar), sumFrom*v.Sum.Mean)
		d.Text = "had " + what + since + c.usually(d.Baseline, "such hours") + number(d.High) + ", " + number(d.Expected) + " expected"
	} else {
		d.Text = "had " + what + " in one call" + c.usually(d.Baseline, "its calls") + number(d.High) + ", " + number(d.Expected) + " expected"
	}
	return d
}

const wholeDigits = 1e15 // under which every digit is one

// number writes a value of unknown size with three digits.
func number(x float64) string {
	if a := math.Abs(x); a >= 1000 && a < wholeDigits {
		if x < 0 {
			return "-" + Count(-x)
		}
		return Count(x)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}
