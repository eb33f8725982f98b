package baseline

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// MaxMetrics bounds the metrics that a config may name.
const MaxMetrics = 4

// Metric is a number that comes with an agent's calls: tokens, cost, latency. A
// value x is held on the scale
//
//	y = asinh(x/unit) = level + hour[0..23] + weekend[0..23] + weekday[0..6] + noise
//
// with unit the typical magnitude among the peers: near it differences count as
// they are, far above it as multiples. Level and variance are shrunk to the peers'.
// Three things stand out: a value, the mean of an hour (its values are not
// independent of each other, so its variance is learnt apart), and a jump away from
// the last values. How rare z standard deviations are is learnt for each (tails).
type Metric struct {
	mean    float32       // level
	values  residualStats // of single ones
	hours   residualStats // of the means of closed hours
	jumps   residualStats // of the steps away from recent
	recent  float32
	meanRaw float32 // winsorised mean of x, for sums
	calls   float32 // share of the calls that carry a value

	hour, weekend [24]effect
	day           [7]effect
	effects       float32 // mean square of the hours' offsets

	// The hour under way: values, the sum of their residuals, their sum.
	count, residuals float32
	sum              float64

	shiftHours uint8 // hours in a row that stood out on one side
	shiftUp    bool
}

const saturday = 5 // as slot counts

// residualStats is the variance and the tail of residuals, faded.
type residualStats struct {
	n, m2              float32
	seen, beyond, logs float32
}

// variance is shrunk to a prior one with a pseudo-count of observations.
func (s *residualStats) variance(prior, pseudo float64) float64 {
	return (float64(s.m2) + float64(pseudo*prior)) / (float64(s.n) + pseudo)
}

// learn takes one residual, clipped and with its weight, and how far it stood out, as
// it is: in an episode too, or what goes on would be a surprise for ever.
func (s *residualStats) learn(r, clipped, scale, w float64) {
	s.m2 += float32(w * clipped * clipped)
	s.n += float32(w)
	s.seen++
	if z := math.Abs(r) / scale; z > tailFromSigmas {
		s.beyond++
		s.logs += float32(math.Log(min(z, maxTailSigmas) / tailFromSigmas))
	}
}

func (s *residualStats) fade(d float32) {
	s.n *= d
	s.m2 *= d
	s.seen *= d
	s.beyond *= d
	s.logs *= d
}

// Tail says how rare it is to stand out: Part is the probability of tailFromSigmas
// standard deviations, and beyond them the probability falls with the power 1/Hill
// (Hill 1975, the mean logarithm of the excess). What has stood out often for this
// agent is weak evidence.
type Tail struct{ Part, Hill float64 }

func (s *residualStats) tail() Tail {
	return Tail{
		Part: (float64(s.beyond) + tailPseudo*tailStartPart) / (float64(s.seen) + tailPseudo),
		Hill: (float64(s.logs) + hillPseudo*tailStartHill) / (float64(s.beyond) + hillPseudo),
	}
}

// Evidence is -log10 of the probability of z standard deviations or more.
func (t Tail) Evidence(z float64) float64 {
	if z <= tailFromSigmas {
		return 0
	}
	return -math.Log10(t.Part) + math.Log10(z/tailFromSigmas)/t.Hill
}

// Quantile is the inverse of Evidence.
func (t Tail) Quantile(x float64) float64 {
	return tailFromSigmas * math.Pow(10, max(0, x+math.Log10(t.Part))*t.Hill)
}

// effect is an additive offset, shrunk to none.
type effect struct{ s, e float32 }

func (e *effect) at() float64 { return float64(e.s) / (float64(e.e) + effectPseudoHours) }

// learn moves the offset by what was left of an hour beside it.
func (e *effect) learn(w, r float64) {
	at := e.at()
	e.s += float32(w * (at + r))
	e.e += float32(w)
}

func (e *effect) fade(d float32) {
	e.s *= d
	e.e *= d
}

// MetricAt is what is expected of the next value, on the scale of y.
type MetricAt struct {
	Unit                        float64 // 0: nothing is known yet
	Mean                        float64
	Scale, HourScale, JumpScale float64 // standard deviations
	Value, Hour, Jump           Tail
	Recent                      float64 // residual of the last values
	HourMean                    float64 // residual of the open hour, without the value
	Count                       float64 // values of the open hour, without the value
}

// Of returns x on the scale of y.
func (a *MetricAt) Of(x float64) float64 { return math.Asinh(x / a.Unit) }

// X is the inverse of Of.
func (a *MetricAt) X(y float64) float64 { return a.Unit * math.Sinh(bound(y, -maxScaled, maxScaled)) }

// HourWith is the residual of the open hour with a value of residual r in it.
func (a *MetricAt) HourWith(r float64) float64 {
	r = bound(r, -metricClipSigmas*a.Scale, metricClipSigmas*a.Scale)
	return (float64(a.HourMean*a.Count) + r) / (a.Count + 1)
}

// At returns what is expected of a value in an hour (hours since 1970).
func (m *Metric) At(p *MetricPrior, hour int64) MetricAt {
	if p.unit == 0 {
		return MetricAt{}
	}
	g, within, between := p.moments()
	n, k := float64(m.values.n), within/between
	s2 := m.values.variance(within, metricPseudo)
	h, d := slot(hour)
	// An hour of the day that has hardly been seen may be like any other.
	unseen := float64(float64(m.effects) * sq(effectPseudoHours/(float64(m.hour[h].e)+effectPseudoHours)))
	a := MetricAt{
		Unit: p.unit, Mean: (float64(n*float64(m.mean))+float64(k*g))/(n+k) + m.offset(h, d),
		Value: m.values.tail(), Hour: m.hours.tail(), Jump: m.jumps.tail(),
		Recent: float64(m.recent), Count: float64(m.count),
	}
	if a.Count > 0 {
		a.HourMean = float64(m.residuals) / a.Count
	}
	deviation := func(v float64) float64 { return max(math.Sqrt(v), minMetricScale) }
	a.Scale = deviation(float64(s2*(1+1/(n+k))) + unseen)
	a.HourScale = deviation(m.hours.variance(s2*metricMeanPart, meanPseudo) + s2/(a.Count+1) + unseen)
	a.JumpScale = deviation(m.jumps.variance(within*metricMeanPart, metricPseudo))
	return a
}

// offset is what the place in the week adds.
func (m *Metric) offset(h, d int) float64 {
	y := m.hour[h].at() + m.day[d].at()
	if d >= saturday {
		y += m.weekend[h].at()
	}
	return y
}

// Sum returns what is expected of the sum of an hour.
func (m *Metric) Sum(a MetricAt, r RateAt) BytesAt {
	if a.Unit == 0 || m.values.n < minSizeCalls || r.Mu == 0 {
		return BytesAt{}
	}
	relVar := math.Exp(min(a.Scale*a.Scale, maxLogVar)) - 1
	calls := max(r.Mu*float64(m.calls), 1)
	return BytesAt{Mean: max(calls*float64(m.meanRaw), a.Unit/minSumUnits), RelVar: max(r.Overdispersion, 0) + (relVar+1)/calls}
}

// Total is the sum of the open hour.
func (m *Metric) Total() float64 { return m.sum }

// Values is the weight of the values behind it.
func (m *Metric) Values() float64 { return float64(m.values.n) }

// Count takes a value into the open hour's sum; Learn follows.
func (m *Metric) Count(x float64) { m.sum += x }

// Learn takes one value, a being what At said before.
func (m *Metric) Learn(p *MetricPrior, a MetricAt, x, weight float64) {
	if a.Unit == 0 {
		p.find(x)
		return
	}
	r := a.Of(x) - a.Mean
	m.count++
	m.residuals += float32(bound(r, -metricClipSigmas*a.Scale, metricClipSigmas*a.Scale))
	jump := r - a.Recent
	m.jumps.learn(jump, bound(jump, -clipSigmas*a.JumpScale, clipSigmas*a.JumpScale), a.JumpScale, weight)
	m.recent += float32(recentPart * jump)

	clipped := r
	if m.shiftHours < metricSettleHours {
		clipped = bound(r, -clipSigmas*a.Scale, clipSigmas*a.Scale)
	} else {
		weight = 1
		m.values.n = min(m.values.n, metricQuick)
	}
	first := m.values.n == 0
	m.values.learn(r, clipped, a.Scale, weight)
	share := weight / float64(m.values.n)
	m.mean += float32(share * clipped)
	if first { // without offsets yet: Mean was the peers' level
		m.mean = float32(a.Mean + clipped)
	}
	m.meanRaw += float32(share * (bound(a.X(a.Mean+clipped), -maxMeanRaw, maxMeanRaw) - float64(m.meanRaw)))
}

// Present notes whether a call carried a value.
func (m *Metric) Present(yes bool, weight float64) {
	x := 0.0
	if yes {
		x = 1
	}
	m.calls += float32(min(weight/(float64(m.values.n)+1), 1) * (x - float64(m.calls)))
}

// close takes the hour that closed.
func (m *Metric) close(hour int64, weight float64) {
	count := float64(m.count)
	if count > 0 {
		r := float64(m.residuals) / count
		s2 := m.values.variance(metricStartVar, metricPseudo)
		scale := max(math.Sqrt(m.hours.variance(s2*metricMeanPart, meanPseudo)+s2/count), minMetricScale)
		switch out := math.Abs(r) > shiftSigmas*scale || weight < 1; {
		case !out:
			m.shiftHours = 0
		case m.shiftHours > 0 && (r > 0) == m.shiftUp:
			m.shiftHours = min(m.shiftHours+1, metricSettleHours)
		default:
			m.shiftHours, m.shiftUp = 1, r > 0
		}
		clipped := bound(r, -clipSigmas*scale, clipSigmas*scale)
		m.hours.learn(r, math.Sqrt(max(sq(clipped)-s2/count, 0)), scale, weight)
		// A few values in an hour say little of it.
		w := weight * count / (count + sparseHour)
		h, d := slot(hour)
		m.hour[h].learn(w, clipped)
		m.effects += float32((sq(m.hour[h].at()) - float64(m.effects)) / 24)
		m.day[d].learn(w/weekdayPart, clipped)
		if d >= saturday {
			m.weekend[h].learn(w, clipped)
		}
	}
	m.count, m.residuals, m.sum = 0, 0, 0
}

func (m *Metric) fade(hours int64) {
	d := float32(Decay(hours, halfLifeMetric))
	for _, s := range []*residualStats{&m.values, &m.hours, &m.jumps} {
		s.fade(d)
	}
	if hours > 1 {
		m.recent *= float32(Decay(hours-1, halfLifeRecent)) // what was before a pause is not recent
	}
	d = float32(Decay(hours, HalfLifeHour))
	for i := range m.hour {
		m.hour[i].fade(d)
		m.weekend[i].fade(d)
	}
	d = float32(Decay(hours, HalfLifeWeekday))
	for i := range m.day {
		m.day[i].fade(d)
	}
}

func (m *Metric) code(c *wire.Coder) {
	c.Scope("values", m.values.code)
	c.Scope("hours", m.hours.code)
	c.Scope("jumps", m.jumps.code)
	wire.Each(c, "hour", m.hour[:], (*effect).code)
	wire.Each(c, "weekend", m.weekend[:], (*effect).code)
	wire.Each(c, "day", m.day[:], (*effect).code)
	c.F32("mean", &m.mean)
	c.F32("recent", &m.recent)
	c.F32("meanRaw", &m.meanRaw)
	c.F32("calls", &m.calls)
	c.F32("effects", &m.effects)
	c.F32("count", &m.count)
	c.F32("residuals", &m.residuals)
	c.F64("sum", &m.sum)
	c.U8("shiftHours", &m.shiftHours)
	c.Bool("shiftUp", &m.shiftUp)
	wire.NotNegative(c, "metric", m.effects, m.count, m.calls)
}

func (s *residualStats) code(c *wire.Coder) {
	c.F32("n", &s.n)
	c.F32("m2", &s.m2)
	c.F32("seen", &s.seen)
	c.F32("beyond", &s.beyond)
	c.F32("logs", &s.logs)
	wire.NotNegative(c, "spread of a metric", s.n, s.m2, s.seen, s.beyond, s.logs)
}

func (e *effect) code(c *wire.Coder) {
	c.F32("s", &e.s)
	c.F32("e", &e.e)
	wire.NotNegative(c, "weight of an hour of a metric", e.e)
}

// MetricPrior is the distribution over the agents of a group.
type MetricPrior struct {
	unit                 float64
	seen, log            float64 // values without a unit, the sum of the logarithms of their magnitudes
	n, sum, sum2, within float64
}

// find gathers magnitudes until there are enough for a unit: their geometric mean.
func (p *MetricPrior) find(x float64) {
	if x == 0 {
		return
	}
	p.seen++
	p.log += math.Log(math.Abs(x))
	if p.seen >= unitFrom {
		p.unit = bound(math.Exp(p.log/p.seen), minUnit, maxUnit)
	}
}

func (p *MetricPrior) moments() (mean, within, between float64) {
	if p.n < 1 {
		return math.Asinh(1), metricStartVar, metricBetweenVar
	}
	mean = p.sum / p.n
	apart := p.sum2/p.n - float64(mean*mean)
	return mean, max(p.within/p.n, minMetricScale*minMetricScale), max(apart, 0) + float64(1/p.n) + priorBetweenVar
}

func (p *MetricPrior) contribute(m *Metric) {
	if m.values.n < 1 || p.unit == 0 {
		return
	}
	p.n++
	p.sum += float64(m.mean)
	p.sum2 += sq(float64(m.mean))
	p.within += m.values.variance(metricStartVar, 1)
}

func (p *MetricPrior) endDay() { fadeDay(&p.n, &p.sum, &p.sum2, &p.within) }

func (p *MetricPrior) code(c *wire.Coder) {
	c.F64("unit", &p.unit)
	c.F64("seen", &p.seen)
	c.F64("log", &p.log)
	c.F64("n", &p.n)
	c.F64("sum", &p.sum)
	c.F64("sum2", &p.sum2)
	c.F64("within", &p.within)
	wire.NotNegative(c, "metric of a group", p.unit, p.seen, p.n, p.within)
}
