package baseline

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// Ratio is which part of an agent's calls are of some kind: failed, malformed. An
// hour's count of them is overdispersed, since what fails fails again; its mean
// is the ratio times the calls, the ratio shrunk to the peers'.
type Ratio struct {
	n    float32 // decayed calls behind it
	mean float32
}

// RatioAt is what is expected of an hour.
type RatioAt struct {
	Ratio          float64 // of the calls
	Mu             float64 // calls of that kind; 0: nothing is known yet
	Overdispersion float64 // relative variance beyond Poisson
}

// At returns what is expected of an hour of so many calls.
func (r *Ratio) At(p *RatioPrior, calls float64) RatioAt {
	if float64(r.n)+p.calls < ratioPseudoCalls {
		return RatioAt{}
	}
	prior := (p.sum + float64(ratioPseudoCalls*ratioStart)) / (p.calls + ratioPseudoCalls)
	q := (float64(float64(r.n)*float64(r.mean)) + float64(ratioPseudoCalls*prior)) / (float64(r.n) + ratioPseudoCalls)
	return RatioAt{Ratio: q, Mu: max(q*calls, minRatioMu), Overdispersion: p.overdispersion()}
}

// Learn takes one closed hour: the calls, those of the kind, and what weight they have.
func (r *Ratio) Learn(p *RatioPrior, calls, count, weight float64) {
	if calls <= 0 {
		return
	}
	a := r.At(p, calls)
	if a.Mu > 0 {
		count = min(count, a.Mu+float64(clipSigmas*math.Sqrt(CountVariance(a.Mu, a.Overdispersion)))+1)
		p.excess += float64(weight * (sq(count-a.Mu) - a.Mu))
		p.square += float64(weight * a.Mu * a.Mu)
	}
	calls, count = calls*weight, count*weight
	n := min(float64(r.n)+calls, ratioMemory)
	r.mean = float32(float64(r.mean) + min(calls/n, 1)*(count/calls-float64(r.mean)))
	r.n = float32(n)
	// One busy agent is not the group.
	share := min(1, ratioPseudoCalls/calls)
	p.calls += float64(calls * share)
	p.sum += float64(count * share)
}

// Calls is the weight of the agent's own calls.
func (r *Ratio) Calls() float64 { return float64(r.n) }

// Fade lets the evidence age.
func (r *Ratio) Fade(hours int64) { r.n = float32(float64(r.n) * Decay(hours, halfLifeVolume)) }

// Code encodes or decodes r.
func (r *Ratio) Code(c *wire.Coder) {
	c.F32("n", &r.n)
	c.F32("mean", &r.mean)
	wire.NotNegative(c, "ratio", r.n, r.mean)
}

// RatioPrior is the same over the agents of a group.
type RatioPrior struct {
	calls, sum     float64 // of all hours, each ratioPseudoCalls calls at most
	excess, square float64 // of squared residuals beyond Poisson, of squared means
}

func (p *RatioPrior) overdispersion() float64 {
	return bound((p.excess+float64(ratioOverPseudo*ratioStartOver))/(p.square+ratioOverPseudo), minRatioOver, maxRatioOver)
}

// EndDay lets the evidence age by a day.
func (p *RatioPrior) EndDay() { fadeDay(&p.calls, &p.sum, &p.excess, &p.square) }

// Code encodes or decodes p.
func (p *RatioPrior) Code(c *wire.Coder) {
	c.F64("calls", &p.calls)
	c.F64("sum", &p.sum)
	c.F64("excess", &p.excess)
	c.F64("square", &p.square)
	wire.NotNegative(c, "ratio of a group", p.calls, p.sum, p.square)
}
