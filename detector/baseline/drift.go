package baseline

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// Drift is a slow rise of the rate that no window gives away: a baseline that
// follows its agent would follow a patient attacker too. The agent's days are held
// against a reference U that grows by at most 1 % a day, and the count x of every
// 24 hours adds
//
//	log NB(x | driftRise*U) / NB(x | U)
//
// to a sum that does not fall below 0 (a CUSUM, in natural logarithms: Page 1954,
// Lorden 1971). e^-sum is the p of a sum that high. Days, not hours: the hours of
// a day are not independent of each other, and what a bursty agent leaves out in
// one hour it does in the next. Counts are compared by the hour and weekday factors
// of Rate over their mean: like its level, they follow what grows. How much days vary
// is taken from one to the next (von Neumann 1941): around a mean, a rise would pass
// for variance.
type Drift struct {
	// The 24 hours under way: how many, what was counted, the sum of the factors.
	hours         uint8
	count, shares float32
	mean          float32 // of the factors, over a week

	last   float32 // the day before, on the scale of level
	days   float32 // behind level, at most driftDays
	level  float32 // calls an hour of a factor of 1
	excess float32 // sum of the days' squared relative deviations beyond Poisson, faded
	weight float32 // of them
	ref    float32 // U, on the scale of level; 0: too early
	sum    float32
}

// Sum is the evidence, natural logarithms.
func (d *Drift) Sum() float64 { return float64(d.sum) }

// At returns what the reference and the last days say of an hour.
func (d *Drift) At(a RateAt) (reference, level float64) {
	share := a.seasonal / max(float64(d.mean), minMu)
	return float64(d.ref) * share, float64(d.level) * share
}

// learn takes the count x of an hour of which a was expected.
func (d *Drift) learn(r *Rate, p *RatePrior, a RateAt, x float64) {
	if float64(r.Hours) < driftIdle || a.Mu <= 0 {
		return
	}
	d.count += float32(min(x, a.Mu+float64(clipSigmas*math.Sqrt(CountVariance(a.Mu, max(a.Overdispersion, 0))))))
	d.shares += float32(a.seasonal)
	if d.hours++; d.hours == 24 {
		d.mean = float32(max(r.meanFactor(p), minMu))
		d.day(float64(d.count), float64(d.shares/d.mean))
		d.hours, d.count, d.shares = 0, 0, 0
	}
}

// day takes 24 hours.
func (d *Drift) day(x, shares float64) {
	overdispersion := (float64(d.excess) + float64(driftPseudoDays*driftVar)) / (float64(d.weight) + driftPseudoDays)
	overdispersion = max(overdispersion, driftMinVar)
	q, level := x/shares, max(float64(d.level), minMu)
	w := min(shares/24, 1) // a day off counts for little
	if d.days > 0 {
		noise := overdispersion + 1/(level*shares)
		e := min(sq((q-float64(d.last))/level)/2, driftClipVars*noise)
		d.excess = float32(float64(d.excess)*driftFade + float64(w*(e-1/(level*shares))))
		d.weight = float32(float64(d.weight)*driftFade + w)
		q = min(q, level*(1+float64(driftClipSigmas*math.Sqrt(noise))))
	}
	d.last += float32(float64(w * (q - float64(d.last))))
	d.days = float32(min(float64(d.days)+w, driftDays))
	d.level += float32(float64(w*(q-float64(d.level))) / float64(d.days))
	if d.days < driftFrom {
		return
	}
	m := float64(d.ref) * shares
	if d.ref > 0 && m > 0 {
		size := 1 / overdispersion
		step := float64(x*math.Log(driftRise)) + float64((x+size)*math.Log((m+size)/(driftRise*m+size)))
		d.sum = float32(min(max(float64(d.sum)+step, 0), driftMost))
	}
	top := float64(d.level) * (1 + float64(driftRefSigmas*math.Sqrt(overdispersion/float64(d.days))))
	if d.ref == 0 {
		d.ref = float32(top)
	}
	d.ref = float32(min(float64(d.ref)*driftGrowth, top))
}

// settle takes what has been alerted on for granted: the reference is where the
// agent was lately, and the sum begins anew.
func (d *Drift) settle(r *Rate, a RateAt) {
	d.sum = 0
	if a.Mu <= 0 {
		return
	}
	seen, mean, _ := r.Long(a, a.Mu)
	d.level = float32(max(float64(d.level), a.Mu/a.seasonal*float64(d.mean)*max(1, seen/mean)))
	d.ref = d.level
}

func (d *Drift) code(c *wire.Coder) {
	c.U8("hours", &d.hours)
	c.F32("count", &d.count)
	c.F32("shares", &d.shares)
	c.F32("days", &d.days)
	c.F32("level", &d.level)
	c.F32("excess", &d.excess)
	c.F32("weight", &d.weight)
	c.F32("ref", &d.ref)
	c.F32("sum", &d.sum)
	c.F32("last", &d.last)
	c.F32("mean", &d.mean)
	wire.NotNegative(c, "drift", d.count, d.shares, d.days, d.level, d.weight, d.ref, d.sum)
}
