package baseline

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// Volume is how much an agent moves in one direction: the distribution of
// Size(bytes) of a call, less the mean of its tool among the peers, and the
// mean of the bytes themselves. Calls without bytes are no observation.
type Volume struct {
	N     float32 // decayed weight of the calls behind it
	mean  float32 // of the logarithm, less the tool's offset
	m2    float32 // sum of squared deviations
	bytes float32 // winsorised mean, bytes a call with bytes
	calls float32 // share of calls that carry bytes
}

// VolumeAt is the predictive distribution of a call: Student's t.
type VolumeAt struct {
	Mean, Scale float64 // of Size(bytes) less the offset
	DF          float64
	Valid       bool
}

// Call is what one call moves in one direction.
type Call struct {
	Bytes  uint64
	Size   float64 // of the bytes
	Offset float64 // mean of its tool among the peers, on the scale of Size
}

// CallOf returns the call that moves so many bytes with a tool of that offset.
func CallOf(bytes uint64, offset float64) Call {
	c := Call{Bytes: bytes, Offset: offset}
	if bytes > 0 {
		c.Size = Size(float64(bytes))
	}
	return c
}

// Size is the scale on which volumes are compared: log(1 + bytes/128).
func Size(bytes float64) float64 { return math.Log1p(bytes / sizeUnit) }

// BytesOf is the inverse of Size.
func BytesOf(size float64) float64 { return sizeUnit * math.Expm1(size) }

// At returns what is expected of the agent's next call.
func (v *Volume) At(p *VolumePrior) VolumeAt {
	n := float64(v.N)
	g, within, between := p.expected()
	k := within / between
	s2 := (float64(v.m2) + float64(volumePseudoCalls*within)) / (n + volumePseudoCalls)
	return VolumeAt{
		Mean:  (float64(n*float64(v.mean)) + float64(k*g)) / (n + k),
		Scale: max(math.Sqrt(s2*(1+1/(n+k))), minVolumeScale),
		DF:    min(maxDF, max(n+volumePseudoCalls, newbornDF-n)),
		Valid: true,
	}
}

// Sum returns what is expected of an hour's bytes: the mean of a call's bytes
// times the calls that carry some, the counts' own variance over them.
func (v *Volume) Sum(a VolumeAt, r RateAt) BytesAt {
	if !a.Valid || v.N < minSizeCalls {
		return BytesAt{}
	}
	mean, relVar := v.each(a)
	calls := max(r.Mu*float64(v.calls), 1)
	return BytesAt{Mean: calls * mean, RelVar: max(r.Overdispersion, 0) + (relVar+1)/calls}
}

// each returns the mean bytes a call and their relative variance.
func (v *Volume) each(a VolumeAt) (mean, relVar float64) {
	relVar = math.Exp(min(a.Scale*a.Scale, maxLogVar)) - 1
	mean = BytesOf(a.Mean) * math.Exp(min(a.Scale*a.Scale, maxLogVar)/2)
	if n := float64(v.N); n > 0 {
		own := float64(v.bytes)
		mean = (float64(n*own) + float64(meanPseudoCalls*mean)) / (n + meanPseudoCalls)
	}
	return max(mean, 1), relVar
}

// Learn takes one call, what At said before, and its weight. Calls of one hour are
// correlated: the caller hands the k-th of an hour the weight 1/(1+k/32).
func (v *Volume) Learn(a VolumeAt, call Call, weight float64) {
	whole := call.Size - call.Offset
	r, b := whole, float64(call.Bytes)
	if a.Valid {
		r = min(max(r, a.Mean-float64(clipSigmas*a.Scale)), a.Mean+float64(clipSigmas*a.Scale))
	}
	if r != whole {
		b = BytesOf(min(r+call.Offset, maxLearntSize))
	}
	n := float64(v.N) + weight
	d := r - float64(v.mean)
	mean := float64(v.mean) + float64(weight/n*d)
	v.m2 = float32(float64(v.m2) + float64(weight*d*(r-mean)))
	v.mean = float32(mean)
	v.bytes = float32(float64(v.bytes) + float64(weight/n*(b-float64(v.bytes))))
	v.N = float32(n)
}

// Present notes whether a call carried bytes.
func (v *Volume) Present(yes bool, weight float64) {
	x := 0.0
	if yes {
		x = 1
	}
	w := weight / (float64(v.N) + 1)
	v.calls = float32(float64(v.calls) + float64(min(w, 1)*(x-float64(v.calls))))
}

// Fade lets the evidence age.
func (v *Volume) Fade(hours int64) {
	d := Decay(hours, halfLifeVolume)
	v.N = float32(float64(v.N) * d)
	v.m2 = float32(float64(v.m2) * d)
}

// Code encodes or decodes v.
func (v *Volume) Code(c *wire.Coder) {
	c.F32("n", &v.N)
	c.F32("mean", &v.mean)
	c.F32("m2", &v.m2)
	c.F32("bytes", &v.bytes)
	c.F32("calls", &v.calls)
	wire.NotNegative(c, "volume", v.N, v.m2, v.bytes, v.calls)
}

// VolumePrior is the distribution over the agents of a group. A group of which nothing is
// known is its fleet, and a fleet what is stated here: sizes e^1.5 times apart within an
// agent, and its mean e^1.2 times from that of others.
type VolumePrior struct {
	n, sum, sum2, s2 float64
	fleet            *VolumePrior // nil: it is the fleet's
}

// expected returns the mean of an agent's sizes, and their variance within one and
// between agents.
func (p *VolumePrior) expected() (mean, within, between float64) {
	switch {
	case p.fitted():
		return p.mean(), p.within(), p.between()
	case p.fleet != nil:
		return p.fleet.expected()
	}
	return 0, volumeStartVar, volumeBetween
}

func (p *VolumePrior) fitted() bool    { return p.n >= 1 }
func (p *VolumePrior) mean() float64   { return p.sum / p.n }
func (p *VolumePrior) within() float64 { return max(p.s2/p.n, minVolumeScale*minVolumeScale) }

func (p *VolumePrior) between() float64 {
	m := p.mean()
	variance := p.sum2/p.n - float64(m*m)
	return max(variance, 0) + float64(1/p.n) + priorBetweenVar
}

// Contribute adds an agent's estimates; once an agent and day.
func (p *VolumePrior) Contribute(v *Volume) {
	if v.N < 1 {
		return
	}
	a := v.At(p)
	p.n++
	p.sum += a.Mean
	p.sum2 += float64(a.Mean * a.Mean)
	p.s2 += (float64(v.m2) + float64(meanPseudoCalls*volumeStartVar)) / (float64(v.N) + meanPseudoCalls)
}

// EndDay lets the evidence age by a day.
func (p *VolumePrior) EndDay() { fadeDay(&p.n, &p.sum, &p.sum2, &p.s2) }

// Code encodes or decodes p.
func (p *VolumePrior) Code(c *wire.Coder) {
	c.F64("n", &p.n)
	c.F64("sum", &p.sum)
	c.F64("sum2", &p.sum2)
	c.F64("s2", &p.s2)
	wire.NotNegative(c, "volume of a group", p.n, p.s2)
}
