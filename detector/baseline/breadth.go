package baseline

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// Breadth is how many resources an agent touches for the first time in an hour
// in which it is active.
type Breadth struct {
	n, mean, square float32 // decayed hours, the mean of their counts and of its square
	// streak counts the days in a row with an hour that stood out: as with Rate, what
	// comes every day is learnt in full after some.
	streak uint8
	day    int32
}

// At returns the expected number of first-seen resources in an active hour and
// the relative variance beyond Poisson; a mean of 0: nothing is known yet.
func (b *Breadth) At(p *BreadthPrior, young bool) (mean, overdispersion float64) {
	g := &p[maturityClass(young)]
	if g.n < breadthPseudoHours {
		g = &p[maturityClass(true)]
	}
	if g.n < breadthPseudoHours && b.n < breadthPseudoHours {
		return 0, 0
	}
	prior, overdispersion := breadthStart, breadthStart
	if g.n > 0 {
		prior = (g.sum + breadthStart*breadthStartHours) / (g.n + breadthStartHours)
		variance := g.sum2/g.n - sq(g.sum/g.n)
		overdispersion = bound((variance-prior)/sq(prior), minBreadthOver, maxBreadthOver)
	}
	n := float64(b.n)
	mean = (float64(n*float64(b.mean)) + float64(breadthPseudoHours*prior)) / (n + breadthPseudoHours)
	if own := float64(b.mean); own > 0 {
		// One who does all of it in one hour of the day is not the others.
		apart := bound((float64(b.square)-sq(own)-own)/sq(own), 0, maxOwnBreadthOver)
		overdispersion = (float64(n*apart) + float64(breadthOwnHours*overdispersion)) / (n + breadthOwnHours)
	}
	return max(mean, minBreadth), max(overdispersion, minBreadthOver)
}

// Learn takes one closed hour (hours since 1970).
func (b *Breadth) Learn(p *BreadthPrior, young bool, hour int64, count, weight float64) {
	mean, overdispersion := b.At(p, young)
	x := count
	if mean > 0 {
		x = min(count, mean+float64(clipSigmas*math.Sqrt(CountVariance(mean, overdispersion))))
		if (x < count || weight < 1) && count > mean && b.again(int32(hour/24)) {
			x, weight = count, 1
		}
	}
	n := min(float64(b.n)+weight, breadthMemory)
	b.mean = float32(float64(b.mean) + float64(weight/n*(x-float64(b.mean))))
	b.square = float32(float64(b.square) + float64(weight/n*(sq(x)-float64(b.square))))
	b.n = float32(n)
	g := &p[maturityClass(young)]
	g.n += weight
	g.sum += float64(weight * x)
	g.sum2 += float64(weight * x * x)
}

// again notes an hour that stood out, and reports whether such hours have come for
// days in a row.
func (b *Breadth) again(day int32) bool {
	switch day - b.day {
	case 0:
	case 1:
		b.streak = min(b.streak+1, scheduleDays)
	default:
		b.streak = 0
	}
	b.day = day
	return b.streak >= scheduleDays
}

// Hours is the weight of the agent's own hours.
func (b *Breadth) Hours() float64 { return float64(b.n) }

// Fade lets the evidence age.
func (b *Breadth) Fade(hours int64) {
	b.n = float32(float64(b.n) * Decay(hours, halfLifeBreadth))
}

// Code encodes or decodes b.
func (b *Breadth) Code(c *wire.Coder) {
	c.F32("n", &b.n)
	c.F32("mean", &b.mean)
	c.F32("square", &b.square)
	c.U8("streak", &b.streak)
	day := int64(b.day)
	c.I64("day", &day)
	b.day = int32(day)
	wire.NotNegative(c, "breadth", b.n, b.mean, b.square)
}

// BreadthPrior is the same over the agents of a group, young and mature.
type BreadthPrior [2]struct{ n, sum, sum2 float64 }

// EndDay lets the evidence age by a day.
func (p *BreadthPrior) EndDay() {
	for i := range p {
		fadeDay(&p[i].n, &p[i].sum, &p[i].sum2)
	}
}

// Code encodes or decodes p.
func (p *BreadthPrior) Code(c *wire.Coder) {
	for i := range p {
		g := &p[i]
		c.At(i)
		c.F64("n", &g.n)
		c.F64("sum", &g.sum)
		c.F64("sum2", &g.sum2)
		wire.NotNegative(c, "breadth of a group", g.n, g.sum, g.sum2)
	}
}
