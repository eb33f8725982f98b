package baseline

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// Rate is how often an agent acts: overdispersed counts an hour with the mean
//
//	mu = level * hour[0..23] * weekday[0..6]
//
// Every factor is shrunk to its peers (factor). An observation is split between
// the three by giving each the weight 1/(R + uncertainty of the other two), with
// R = 1/mu + phi the relative variance of a count.
type Rate struct {
	level factor
	hour  [24]factor
	day   [7]factor

	// phi: sums of the weighted excess of squared relative residuals, of their
	// weights, and the number of hours behind them.
	phiSum, phiWeight, phiHours float32
	// clump: squared residuals over means in quiet hours. Calls come in runs; where
	// hardly any are expected the variance is clump*mu, not mu.
	clumpSum, clumpWeight float32

	// Hours is the decayed number of hours observed, the empty ones too.
	Hours float32
	// The long window: decayed sums of counts, of means, of variances.
	longCount, longMean, longVar float32

	// streak counts, by hour of the day, the days in a row that it lay in an episode
	// or beyond the clip. What comes back at the same hour is a schedule, and is
	// learnt in full after scheduleDays; else each night's alert would keep the
	// next night's run from being learnt.
	streak [24]uint8

	// peak is the busiest hour outside episodes. An agent that works once a night
	// has shown its run before its hours of the day are known: until then its next
	// run is held against the last.
	peak float32

	Drift Drift
}

// RateAt is what a Rate says of one hour.
type RateAt struct {
	Mu                 float64 // expected count; 0: nothing is known yet
	Overdispersion     float64 // relative variance beyond Poisson: phi, clumps, and what is not known of mu
	Peak               float64 // the busiest hour so far
	Near               float64 // what is expected of the busier of the hours beside it, where that is a multiple; else 0
	NearOverdispersion float64 // and its relative variance
	phi                float64
	seasonal           float64 // mu over level
	vLevel             float64
	vHour              float64
	vDay               float64
}

// slot returns the hour of the day and the day of the week (Monday = 0).
func slot(hour int64) (h, d int) {
	h = int(((hour % 24) + 24) % 24)
	days := (hour - int64(h)) / 24
	d = int(((days+3)%7 + 7) % 7) // 1 January 1970 was a Thursday
	return h, d
}

// At returns the expectation for an hour (hours since 1970).
func (r *Rate) At(p *RatePrior, hour int64) RateAt {
	h, d := slot(hour)
	g := p.level
	if !p.fitted() {
		if r.level.e <= 0 {
			return RateAt{}
		}
		g = prior{mean: max(float64(r.level.s/r.level.e), minMu), relVar: aloneLevelVar}
	}
	level, vl := r.level.at(g.mean, g.relVar)
	sh, vh := r.hour[h].at(p.hour[h], p.hourVar)
	sd, vd := r.day[d].at(p.day[d], p.dayVar)
	a := RateAt{seasonal: max(sh*sd, minMu), vLevel: vl, vHour: vh, vDay: vd}
	a.Mu = max(level*a.seasonal, minMu)
	a.phi = r.phi(p, a.Mu, level)
	a.Overdispersion = max(a.phi+vl+vh+vd+r.clumps(p, a.Mu), -1/a.Mu)
	a.Peak = float64(r.peak)
	before, _ := r.hour[(h+23)%24].at(p.hour[(h+23)%24], p.hourVar)
	behind, _ := r.hour[(h+1)%24].at(p.hour[(h+1)%24], p.hourVar)
	if near := max(before, behind); near > nearFrom*sh {
		a.Near = level * near * sd
		a.NearOverdispersion = max(a.phi, 0) + vl + vh + vd + r.clumps(p, a.Near)
	}
	return a
}

// phi is the overdispersion, shrunk to the group's with a pseudo-count of phiPseudoHours.
// Steady agents are under-dispersed: it may be negative, down to where the
// largest hour would keep a tenth of the Poisson variance.
func (r *Rate) phi(p *RatePrior, mu, level float64) float64 {
	mean := 1.0
	if r.phiHours > 0 {
		mean = float64(r.phiWeight / r.phiHours)
	}
	if mean <= 0 {
		return p.phi
	}
	phi := (float64(r.phiSum) + float64(phiPseudoHours*mean*p.phi)) / (float64(r.phiWeight) + float64(phiPseudoHours*mean))
	if phi < 0 {
		top := 1.0
		for i := range r.hour {
			v, _ := r.hour[i].at(p.hour[i], p.hourVar)
			top = max(top, v)
		}
		phi = max(phi, -maxUnderdisp/max(level*top, mu))
	}
	return phi
}

// clumps is the relative variance that runs of calls add. It counts where little
// is expected: in busy hours phi has it.
func (r *Rate) clumps(p *RatePrior, mu float64) float64 {
	c := (float64(r.clumpSum) + float64(clumpPseudoCalls*p.clump)) / (float64(r.clumpWeight) + clumpPseudoCalls)
	return max(c-1, 0) / (mu * (1 + mu))
}

// Idles returns what is expected of an hour that was empty, its relative variance, and
// one more that is common to all hours of the day: of a weekday on which the agent hardly
// works the mean says little, since whether it works at all is what is not known.
func (r *Rate) Idles(p *RatePrior, hour int64) (mu, overdispersion, day float64) {
	a := r.At(p, hour)
	_, d := slot(hour)
	sd, vd := r.day[d].at(p.day[d], p.dayVar)
	return a.Mu, max(a.Overdispersion, 0), float64(vd * (1/sq(min(sd, 1)) - 1))
}

// Learn takes the count of one closed hour, a being what At said of it before.
// In an episode the hour counts a tenth, unless it comes every day (streak).
func (r *Rate) Learn(p *RatePrior, a RateAt, hour int64, count float64, episode bool) {
	h, d := slot(hour)
	if !episode {
		r.peak = float32(max(float64(r.peak), count))
	}
	if a.Mu == 0 {
		r.Hours++
		if count == 0 {
			return // before the first call there is no level
		}
		w := 1 / (1/max(count, 1) + p.phi + p.hourVar + p.dayVar)
		r.level.learn(w, count)
		return
	}
	mu := a.Mu
	variance := CountVariance(mu, a.Overdispersion)
	x := min(count, mu+float64(clipSigmas*math.Sqrt(variance)))
	noise := 1/mu + max(a.phi, 0) + r.clumps(p, mu)
	scheduled := false
	switch {
	case x == count && !episode:
		r.streak[h] = 0
	case r.streak[h] >= scheduleDays:
		x, scheduled = count, true
	default:
		r.streak[h]++
		if episode {
			noise *= episodeNoise
		}
	}
	rel := x / a.seasonal // in units of the level
	level := mu / a.seasonal
	r.level.learn(1/(noise+a.vHour+a.vDay), rel)
	sd, _ := r.day[d].at(p.day[d], p.dayVar)
	sh, _ := r.hour[h].at(p.hour[h], p.hourVar)
	r.hour[h].learn(1/(noise+a.vLevel+a.vDay), x/max(level*sd, minMu))
	if r.Hours >= weekdayFrom {
		r.day[d].learn(1/(noise+a.vLevel+a.vHour), x/max(level*sh, minMu))
	}
	if !scheduled { // it says what the hour brings, not how that varies
		r.learnDispersion(p, a, x)
	}
	r.learnLong(a, x)
	r.Hours++
}

func (r *Rate) learnDispersion(p *RatePrior, a RateAt, x float64) {
	const fade = dispersionFade
	mu := a.Mu
	explained := 1/mu + a.vLevel + a.vHour + a.vDay + r.clumps(p, mu)
	if mu > phiFromMu {
		e := (x - mu) / mu
		w := 1 / sq(explained+max(a.phi, 0))
		r.phiSum = float32(float64(float64(r.phiSum)*fade) + float64(w*(float64(e*e)-explained)))
		r.phiWeight = float32(float64(float64(r.phiWeight)*fade) + w)
		r.phiHours = float32(float64(float64(r.phiHours)*fade) + 1)
	}
	if mu < clumpBelowMu && r.Hours >= clumpFromHours {
		r.clumpSum = float32(float64(float64(r.clumpSum)*fade) + sq(x-mu))
		r.clumpWeight = float32(float64(float64(r.clumpWeight)*fade) + mu)
	}
}

func (r *Rate) learnLong(a RateAt, x float64) {
	mu := a.Mu
	r.longCount = float32(float64(float64(r.longCount)*fadeLong) + x)
	r.longMean = float32(float64(float64(r.longMean)*fadeLong) + mu)
	own := CountVariance(mu, a.Overdispersion-a.vLevel-a.vDay)
	r.longVar = float32(float64(float64(r.longVar)*fadeLong*fadeLong) + max(own, minLongVar*mu))
}

// Long returns the long window with the open hour in it: what was counted, what
// was expected, and the variance of that. The error of the level and of the
// weekday is common to all its hours.
func (r *Rate) Long(a RateAt, count float64) (observed, mean, variance float64) {
	observed = float64(float64(r.longCount)*fadeLong) + count
	mean = float64(float64(r.longMean)*fadeLong) + a.Mu
	own := CountVariance(a.Mu, a.Overdispersion-a.vLevel-a.vDay)
	variance = float64(float64(r.longVar)*fadeLong*fadeLong) + max(own, minLongVar*a.Mu)
	variance += float64(mean * mean * (a.vLevel + a.vDay))
	return observed, mean, variance
}

// Idle takes the empty hours from 'from' until before 'to'.
func (r *Rate) Idle(p *RatePrior, from, to int64) {
	if to <= from {
		return
	}
	start := max(from, to-MaxIdleHours)
	r.fade(to - from)
	for h := start; h < to; h++ {
		a := r.At(p, h)
		if a.Mu == 0 {
			r.Hours++
			continue
		}
		r.Drift.learn(r, p, a, 0)
		hh, dd := slot(h)
		r.streak[hh] = 0
		noise := 1/a.Mu + max(a.phi, 0) + r.clumps(p, a.Mu)
		r.level.learn(1/(noise+a.vHour+a.vDay), 0)
		r.hour[hh].learn(1/(noise+a.vLevel+a.vDay), 0)
		if r.Hours >= weekdayFrom {
			r.day[dd].learn(1/(noise+a.vLevel+a.vHour), 0)
		}
		r.learnDispersion(p, a, 0)
		r.learnLong(a, 0)
		r.Hours++
	}
}

// fade lets the evidence age by hours.
func (r *Rate) fade(hours int64) {
	r.level.decay(Decay(hours, HalfLifeLevel))
	d := Decay(hours, HalfLifeHour)
	for i := range r.hour {
		r.hour[i].decay(d)
	}
	d = Decay(hours, HalfLifeWeekday)
	for i := range r.day {
		r.day[i].decay(d)
	}
	r.Hours = float32(float64(r.Hours) * Decay(hours, HalfLifeLevel))
}

// meanFactor is the mean over the hours of a week of the product of the factors. They
// follow an agent that grows, as its level does.
func (r *Rate) meanFactor(p *RatePrior) float64 {
	hours, days := 0.0, 0.0
	for h := range r.hour {
		f, _ := r.hour[h].at(p.hour[h], p.hourVar)
		hours += f
	}
	for d := range r.day {
		f, _ := r.day[d].at(p.day[d], p.dayVar)
		days += f
	}
	return hours / 24 * days / 7
}

// Daily is about how many calls a day has.
func (r *Rate) Daily(p *RatePrior) float64 {
	if !p.fitted() {
		return 0
	}
	level, _ := r.level.at(p.level.mean, p.level.relVar)
	return 24 * level
}

// Fade lets the evidence age by the hour that was just learnt.
func (r *Rate) Fade() { r.fade(1) }

// Code encodes or decodes r.
func (r *Rate) Code(c *wire.Coder) {
	c.Scope("level", r.level.code)
	wire.Each(c, "hour", r.hour[:], (*factor).code)
	wire.Each(c, "day", r.day[:], (*factor).code)
	c.Scope("drift", r.Drift.code)
	c.U8s("streak", r.streak[:])
	c.F32("phiSum", &r.phiSum)
	c.F32("phiWeight", &r.phiWeight)
	c.F32("phiHours", &r.phiHours)
	c.F32("clumpSum", &r.clumpSum)
	c.F32("clumpWeight", &r.clumpWeight)
	c.F32("hours", &r.Hours)
	c.F32("longCount", &r.longCount)
	c.F32("longMean", &r.longMean)
	c.F32("longVar", &r.longVar)
	c.F32("peak", &r.peak)
	wire.NotNegative(c, "weight in a rate", r.phiWeight, r.phiHours, r.clumpSum, r.clumpWeight, r.longVar, r.peak)
}

// RatePrior is what the agents of a group have in common.
type RatePrior struct {
	level   prior
	hour    [24]float64
	hourVar float64
	day     [7]float64
	dayVar  float64
	phi     float64
	clump   float64

	today rateMoments // gathered since the last day's end
	past  rateMoments // faded
}

// NewRatePrior returns the prior of a group of which nothing is known. The start
// values are those that did well on generated fleets.
func NewRatePrior() RatePrior {
	p := RatePrior{level: prior{mean: 1, relVar: startLevelVar}, hourVar: startHourVar, dayVar: startDayVar, phi: startPhi, clump: startClump}
	for i := range p.hour {
		p.hour[i] = 1
	}
	for i := range p.day {
		p.day[i] = 1
	}
	return p
}

func (p *RatePrior) fitted() bool { return p.past.level.n > 0 }

// Contribute adds an agent's estimates to its group; once an agent and day.
func (p *RatePrior) Contribute(r *Rate) {
	if r.level.e <= 0 {
		return
	}
	g := p.level
	if !p.fitted() {
		own := float64(r.level.s / r.level.e)
		p.today.level.n++
		p.today.level.sum += own
		p.today.level.dev += startLevelVar
	} else {
		v, rv := r.level.at(g.mean, g.relVar)
		p.today.level.add(v, rv, g.mean)
	}
	for i := range r.hour {
		v, rv := r.hour[i].at(p.hour[i], p.hourVar)
		p.today.hour[i].add(v, rv, p.hour[i])
	}
	for i := range r.day {
		v, rv := r.day[i].at(p.day[i], p.dayVar)
		p.today.day[i].add(v, rv, p.day[i])
	}
	if r.phiWeight > 0 {
		p.today.phi += r.phi(p, 1, 1)
		p.today.phiN++
	}
	p.today.clump += (float64(r.clumpSum) + float64(clumpPseudoCalls*p.clump)) / (float64(r.clumpWeight) + clumpPseudoCalls)
	p.today.clumpN++
}

// EndDay turns what was contributed into the priors of the next day.
func (p *RatePrior) EndDay() {
	if p.today.level.n == 0 {
		return
	}
	p.past.merge(&p.today, priorDailyFade)
	p.today = rateMoments{}
	l := &p.past.level
	p.level = prior{mean: max(l.sum/l.n, minMu), relVar: bound(l.dev/l.n+1/l.n, minLevelVar, maxLevelVar)}
	hv := means(p.past.hour[:], p.hour[:])
	p.hourVar = bound(hv, minHourVar, maxHourVar)
	dv := means(p.past.day[:], p.day[:])
	p.dayVar = bound(dv, minDayVar, maxDayVar)
	if p.past.phiN > 0 {
		p.phi = bound((p.past.phi+startPhi)/(p.past.phiN+1), minPhi, maxPhi)
	}
	p.clump = bound((p.past.clump+startClump)/(p.past.clumpN+1), minClump, maxClump)
}

// means sets the factors to their group means, scaled to a mean of 1, and returns
// their relative variance.
func means(m []moments, out []float64) float64 {
	total, dev, n := 0.0, 0.0, 0.0
	for i := range m {
		out[i] = max(m[i].sum/m[i].n, minFactor)
		total += out[i]
		dev += m[i].dev
		n += m[i].n
	}
	for i := range out {
		out[i] = max(out[i]*float64(len(out))/total, minFactor)
	}
	return dev / n
}

func bound(x, low, high float64) float64 { return min(max(x, low), high) }

func (m *rateMoments) merge(o *rateMoments, fade float64) {
	m.level.merge(&o.level, fade)
	for i := range m.hour {
		m.hour[i].merge(&o.hour[i], fade)
	}
	for i := range m.day {
		m.day[i].merge(&o.day[i], fade)
	}
	m.phi = float64(m.phi*fade) + o.phi
	m.phiN = float64(m.phiN*fade) + o.phiN
	m.clump = float64(m.clump*fade) + o.clump
	m.clumpN = float64(m.clumpN*fade) + o.clumpN
}

func (m *moments) merge(o *moments, fade float64) {
	m.decay(fade)
	m.n += o.n
	m.sum += o.sum
	m.dev += o.dev
}

// Code encodes or decodes p.
func (p *RatePrior) Code(c *wire.Coder) {
	c.F64("level.mean", &p.level.mean)
	c.F64("level.relVar", &p.level.relVar)
	c.F64("hourVar", &p.hourVar)
	c.F64("dayVar", &p.dayVar)
	c.F64("phi", &p.phi)
	c.F64("clump", &p.clump)
	c.F64s("hour", p.hour[:])
	c.F64s("day", p.day[:])
	c.Scope("today", p.today.code)
	c.Scope("past", p.past.code)
	if !c.Reading() {
		return
	}
	low := min(p.level.mean, p.level.relVar, p.hourVar, p.dayVar)
	for _, v := range p.hour {
		low = min(low, v)
	}
	for _, v := range p.day {
		low = min(low, v)
	}
	if low <= 0 {
		c.Fail("prior that is not positive")
	}
}
