package baseline

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// Breadth is how many resources an agent touches for the first time in an hour
// in which it is active.
type Breadth struct{ n, mean float32 }

// At returns the expected number of first-seen resources in an active hour and
// the relative variance beyond Poisson; a mean of 0: nothing is known yet.
func (b *Breadth) At(p *BreadthPrior, young bool) (mean, over float64) {
	const worth = 12 // hours
	g := &p[class(young)]
	if g.n < worth {
		g = &p[class(true)]
	}
	if g.n < worth && b.n < worth {
		return 0, 0
	}
	prior, over := 2.0, 2.0
	if g.n > 0 {
		prior = (g.sum + 4) / (g.n + 2)
		variance := g.sum2/g.n - sq(g.sum/g.n)
		over = bound((variance-prior)/sq(prior), 0.5, 20)
	}
	mean = (float64(b.n*b.mean) + float64(worth*prior)) / (float64(b.n) + worth)
	return math.Max(mean, 0.05), over
}

// Learn takes one closed hour.
func (b *Breadth) Learn(p *BreadthPrior, young bool, count, weight float64) {
	mean, over := b.At(p, young)
	x := count
	if mean > 0 {
		x = math.Min(count, mean+float64(clip*math.Sqrt(mean+float64(over*mean*mean))))
	}
	n := math.Min(float64(b.n)+weight, 500)
	b.mean = float32(float64(b.mean) + float64(weight/n*(x-float64(b.mean))))
	b.n = float32(n)
	g := &p[class(young)]
	g.n += weight
	g.sum += float64(weight * x)
	g.sum2 += float64(weight * x * x)
}

// Hours is the weight of the agent's own hours.
func (b *Breadth) Hours() float64 { return float64(b.n) }

// Fade lets the evidence age.
func (b *Breadth) Fade(hours int64) {
	b.n = float32(float64(b.n) * Decay(hours, halfLifeBreadth))
}

// Code encodes or decodes b.
func (b *Breadth) Code(c *wire.Coder) {
	c.F32(&b.n)
	c.F32(&b.mean)
	if c.Reading() && (b.n < 0 || b.mean < 0) {
		c.Fail("negative breadth")
	}
}

// BreadthPrior is the same over the agents of a group, young and mature.
type BreadthPrior [2]struct{ n, sum, sum2 float64 }

// EndDay lets the evidence age by a day.
func (p *BreadthPrior) EndDay() {
	for i := range p {
		p[i].n *= 0.95
		p[i].sum *= 0.95
		p[i].sum2 *= 0.95
	}
}

// Code encodes or decodes p.
func (p *BreadthPrior) Code(c *wire.Coder) {
	for i := range p {
		g := &p[i]
		c.F64(&g.n)
		c.F64(&g.sum)
		c.F64(&g.sum2)
		if c.Reading() && (g.n < 0 || g.sum < 0 || g.sum2 < 0) {
			c.Fail("negative breadth of a group")
		}
	}
}
