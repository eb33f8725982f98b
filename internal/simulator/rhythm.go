package simulator

import (
	"math"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Archetype is how an agent spreads its work over time.
type Archetype uint8

// The archetypes.
const (
	Steady  Archetype = iota // a fixed pace: every hour the same number of calls, give or take one
	Diurnal                  // works with people: its own peak hour, its own quiet days
	Bursty                   // around the clock, in lumps
	Batch                    // one job a day, at its own hour
	Rare                     // a session now and then
	archetypes
)

// String returns the name.
func (a Archetype) String() string {
	return [...]string{"steady", "diurnal", "bursty", "batch", "rare"}[a]
}

// Archetypes returns all archetypes.
func Archetypes() []Archetype { return []Archetype{Steady, Diurnal, Bursty, Batch, Rare} }

// rhythm is an agent's rate: the expected number of events is
//
//	level * hour(t) * weekday(t)   for all but batch jobs, per hour,
//	level * weekday(t)             for batch jobs, per run,
//
// times slow factors of mean 1 that are drawn as time goes.
type rhythm struct {
	kind  Archetype
	level float64
	phi   float64 // variance of the gamma that mixes the counts

	swing, phase float64 // diurnal: log-amplitude, and the peak in hours UTC
	norm         float64 // makes the mean of hour(t) 1
	weekend      float64 // factor on Saturday and Sunday
	daySigma     float64 // of the day's factor

	runAt, runFor schemas.Millis // batch: after midnight, how long
}

// newRhythm draws a rhythm. rate scales the level.
func newRhythm(d dice, kind Archetype, rate float64) rhythm {
	r := rhythm{kind: kind, norm: 1, weekend: 1}
	switch kind {
	case Steady:
		r.level = math.Max(1, math.Round(d.logNormal(16*rate, .5)))
	case Diurnal:
		r.level = d.logNormal(11*rate, .6)
		r.phi = d.between(.05, .3)
		r.swing = d.between(.8, 2)
		r.phase = math.Mod(24+14+3*d.r.NormFloat64(), 24)
		r.weekend = d.between(.15, .9)
		r.daySigma = d.between(.03, .15)
	case Bursty:
		r.level = d.logNormal(9*rate, .6)
		r.phi = d.between(.4, 1.5)
		r.daySigma = d.between(.03, .2)
	case Batch:
		r.level = d.logNormal(320*rate, .7)
		r.phi = d.between(.005, .08)
		if d.chance(.2) {
			r.weekend = 0
		}
		r.runAt = schemas.Millis(d.between(0, 6.5) * float64(hour))
		r.runFor = schemas.Millis(d.logBetween(15, 80) * float64(minute))
	case Rare, archetypes:
		r.level = d.logNormal(rate*3.0/24, .7)
		r.phi = d.between(.3, 1)
		r.swing = d.between(.3, 1.2)
		r.phase = math.Mod(24+14+3*d.r.NormFloat64(), 24)
		r.weekend = d.between(.3, 1)
	}
	if r.swing > 0 {
		r.norm = 0
		for h := range 24 {
			r.norm += math.Exp(r.swing*math.Cos(2*math.Pi*float64(h)/24)) / 24
		}
	}
	return r
}

// weekday returns the factor of t's day.
func (r *rhythm) weekday(t schemas.Millis) float64 {
	// The first day of 1970 was a Thursday.
	if d := (t/day + 4) % 7; d == 0 || d == 6 {
		return r.weekend
	}
	return 1
}

// hourly returns the expected number of events per hour at t; of a batch job,
// within its run.
func (r *rhythm) hourly(t schemas.Millis) float64 {
	if r.kind == Batch {
		if in := t%day - r.runAt; in < 0 || in >= r.runFor {
			return 0
		}
		return r.level * r.weekday(t) * float64(hour) / float64(r.runFor)
	}
	mu := r.level * r.weekday(t)
	if r.swing > 0 {
		h := float64(t%day) / float64(hour)
		mu *= math.Exp(r.swing*math.Cos(2*math.Pi*(h-r.phase)/24)) / r.norm
	}
	return mu
}

// expect returns the expected number of events.
func (r *rhythm) expect(from, to schemas.Millis) float64 {
	const step = 10 * minute
	n := 0.0
	for t := from; t < to; t += step {
		n += r.hourly(t) * float64(step) / float64(hour)
	}
	return n
}

// perHour returns the mean rate over a working week.
func (r *rhythm) perHour() float64 {
	if r.kind == Batch {
		return r.level / 24
	}
	return r.level
}

// block is a stretch of time with a number of events in it.
type block struct {
	from, to schemas.Millis
	n        int
}

// tide is what drifts: the slow factors of one agent.
type tide struct {
	day   schemas.Millis // the day that factor was drawn for
	today float64
	walk  float64 // log, reverts to 0 over about seven weeks

	// of heavy tails
	noise  float64 // the block's factor remembers the one before
	outage schemas.Millis
	storm  bool // calls fail in this block
	wild   bool // this agent has Pareto bursts
}

func (t *tide) factor(d dice, r *rhythm, now schemas.Millis) float64 {
	if today := now / day; today != t.day || t.today == 0 {
		t.day = today
		t.today = 1
		if r.daySigma > 0 {
			t.today = math.Exp(r.daySigma*d.r.NormFloat64() - r.daySigma*r.daySigma/2)
			t.walk = .98*t.walk + .012*d.r.NormFloat64()
		}
	}
	return t.today * math.Exp(t.walk)
}

// next draws the block after from. It may be empty.
func (r *rhythm) next(d dice, t *tide, from schemas.Millis, tails Tails) block {
	heavy := tails == TailsHeavy
	b := block{from: from, to: (from/hour + 1) * hour}
	if r.kind == Batch {
		var ok bool
		if b, ok = r.run(d, from); !ok {
			return b
		}
	} else if heavy && r.kind != Steady {
		b.to = from + schemas.Millis(d.logBetween(20, 150)*float64(minute))
	}
	span := float64(b.to-b.from) / float64(hour)
	mu := r.hourly((b.from+b.to)/2) * span
	if r.kind == Batch {
		mu = r.level * r.weekday(b.from)
	}
	mu *= t.factor(d, r, b.from)
	if r.kind == Steady {
		b.n = steady(d, mu, span)
		if heavy {
			r.troubled(d, t, &b)
		}
		return b
	}
	if !heavy {
		b.n = d.poisson(mu * d.unitGamma(r.phi))
		return b
	}
	// The same variance as the gamma's, from a log-normal, correlated in time.
	const memory = .6
	sigma := math.Sqrt(math.Log1p(r.phi))
	t.noise = memory*t.noise + math.Sqrt(1-memory*memory)*d.r.NormFloat64()
	b.n = d.poisson(mu * math.Exp(sigma*t.noise-sigma*sigma/2))
	r.troubled(d, t, &b)
	if t.wild && mu > 0 && d.chance(span/60) {
		b.n += d.poisson(mu * d.pareto(1.8, 40))
	}
	return b
}

// steady returns the count of a fixed pace: one off in a tenth of the hours.
func steady(d dice, mu, span float64) int {
	n := int(math.Round(mu))
	if span < .999 {
		return d.poisson(mu)
	}
	switch u := d.r.Float64(); {
	case u < .05:
		n--
	case u < .1:
		n++
	}
	return max(0, n)
}

// run returns the batch run of from's day, and whether it still lies ahead; if
// not, the block is the rest of the day.
func (r *rhythm) run(d dice, from schemas.Millis) (block, bool) {
	midnight := from / day * day
	late := schemas.Millis(math.Abs(d.r.NormFloat64()) * 2 * float64(minute))
	begin := midnight + r.runAt + late
	if begin < from {
		return block{from: from, to: midnight + day}, false
	}
	long := schemas.Millis(float64(r.runFor) * d.logNormal(1, .08))
	return block{from: begin, to: begin + long}, true
}

// troubled makes the zeros and failures of the heavy tails: outages of one to
// six hours, and blocks in which many calls fail.
func (r *rhythm) troubled(d dice, t *tide, b *block) {
	span := float64(b.to-b.from) / float64(hour)
	if b.from >= t.outage && d.chance(span/200) {
		t.outage = b.from + schemas.Millis(d.logBetween(1, 6)*float64(hour))
	}
	if b.from < t.outage {
		b.n = 0
	}
	t.storm = d.chance(span / 120)
}
