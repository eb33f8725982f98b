package baseline

import "github.com/plumbline-sec/plumbline/detector/internal/wire"

// factor is a shrunk relative mean: weighted observations over their weight.
// With a prior of mean g and relative variance v its value is
// (s + k*g)/(e + k), k = 1/v, and its own relative variance 1/(e + k). The prior
// applies at use, it is not copied at birth.
type factor struct{ s, e float32 }

func (f *factor) at(g, v float64) (value, relVar float64) {
	k := 1 / v
	n := float64(f.e) + k
	return (float64(f.s) + float64(k*g)) / n, 1 / n
}

func (f *factor) learn(w, x float64) {
	f.s += float32(w * x)
	f.e += float32(w)
}

func (f *factor) decay(d float64) {
	f.s = float32(float64(f.s) * d)
	f.e = float32(float64(f.e) * d)
}

func (f *factor) code(c *wire.Coder) {
	c.F32("s", &f.s)
	c.F32("e", &f.e)
	wire.NotNegative(c, "factor", f.s, f.e)
}

// prior is the distribution of one factor over the agents of a group: mean and
// relative variance, one step of expectation maximisation each day.
type prior struct{ mean, relVar float64 }

// moments gathers what agents contribute on one day.
type moments struct{ n, sum, dev float64 }

func (m *moments) add(value, relVar, g float64) {
	m.n++
	m.sum += value
	m.dev += sq((value-g)/g) + relVar
}

func (m *moments) decay(d float64) {
	m.n = float64(m.n * d)
	m.sum = float64(m.sum * d)
	m.dev = float64(m.dev * d)
}

func (m *moments) code(c *wire.Coder) {
	c.F64("n", &m.n)
	c.F64("sum", &m.sum)
	c.F64("dev", &m.dev)
	wire.NotNegative(c, "moments", m.n, m.sum, m.dev)
}

// rateMoments are those of a rate.
type rateMoments struct {
	level         moments
	hour          [24]moments
	day           [7]moments
	phi, phiN     float64
	clump, clumpN float64
}

func (m *rateMoments) code(c *wire.Coder) {
	c.Scope("level", m.level.code)
	wire.Each(c, "hour", m.hour[:], (*moments).code)
	wire.Each(c, "day", m.day[:], (*moments).code)
	c.F64("phi", &m.phi)
	c.F64("phiN", &m.phiN)
	c.F64("clump", &m.clump)
	c.F64("clumpN", &m.clumpN)
}
