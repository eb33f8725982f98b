package score

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// Curve is how often evidence of one signal really exceeds a value: decayed
// counts of block maxima in bins of a tenth of a decade, over agent-days.
// Beyond the data it goes on as an exponential, never steeper than the model
// itself (one decade of lambda for one of evidence).
type Curve struct {
	// exceeding[i]: blocks with evidence of at least firstBin + i*binWidth; nil: none. A tenant
	// that an attacker made up has hundreds of curves and records nothing in them.
	exceeding *[curveBins]float32
	days      float64
	slope     float64 // of the tail; derived
	tailBin   int     // bin in which the tail starts; derived
	slopeBin  int     // bin from which the slope is taken; derived
	fitted    bool    // the three above are current
}

func bin(x float64) int {
	if !(x >= firstBin) {
		return -1
	}
	return int(min((x-firstBin)/binWidth, curveBins-1)) // a number past all integers too
}

// Record counts a block whose evidence rose from 'from' (0: it is new) to 'to'.
func (c *Curve) Record(from, to, weight float64) {
	a, b := bin(from), bin(to)
	if a >= b {
		return
	}
	if c.exceeding == nil {
		c.exceeding = new([curveBins]float32)
	}
	for i := a + 1; i <= b; i++ {
		c.exceeding[i] += float32(weight)
	}
	c.fitted = c.fitted && b < c.slopeBin
}

// Expose adds agent-days that were watched.
func (c *Curve) Expose(days float64) { c.days += days }

// Days returns the decayed agent-days.
func (c *Curve) Days() float64 { return c.days }

// Remaining is what calibration remembers after days.
func Remaining(days int64) float64 { return math.Exp2(-float64(days) / HalfLife) }

// EndDay lets the evidence age by a day.
func (c *Curve) EndDay() {
	d := Remaining(1)
	c.days *= d
	if c.exceeding == nil {
		return
	}
	for i := range c.exceeding {
		c.exceeding[i] = float32(float64(c.exceeding[i]) * d)
	}
	c.fitted = false
}

func (c *Curve) fit() {
	c.fitted, c.tailBin, c.slopeBin, c.slope = true, 0, 0, 1
	if c.exceeding == nil {
		return
	}
	for i := curveBins - 1; i > 0; i-- {
		if c.exceeding[i] >= tailFrom {
			c.tailBin = i
			break
		}
	}
	at := 0
	for i := curveBins - 1; i > 0; i-- {
		if c.exceeding[i] >= slopeFrom {
			at = i
			break
		}
	}
	c.slopeBin = at
	n := float64(c.exceeding[at])
	if n <= 0 {
		return
	}
	// Mean excess over the start of the bin, from the counts above each edge.
	sum := 0.0
	for i := at + 1; i < curveBins; i++ {
		sum += float64(c.exceeding[i])
	}
	excess := binWidth * (sum/n + 0.5)
	slope := (n + slopePseudo) / (float64(n*math.Ln10*excess) + slopePseudo)
	c.slope = min(max(slope, minSlope), 1)
}

// Exceedances returns the recorded number of blocks with evidence of at least x,
// smoothed by the tail.
func (c *Curve) exceedances(x float64) float64 {
	if c.exceeding == nil {
		return 0
	}
	if !c.fitted {
		c.fit()
	}
	pos := (x - firstBin) / binWidth
	if pos >= float64(c.tailBin) {
		edge := firstBin + float64(float64(c.tailBin)*binWidth)
		return float64(c.exceeding[c.tailBin]) * pow10(-c.slope*(x-edge))
	}
	if pos <= 0 {
		return float64(c.exceeding[0])
	}
	i := int(pos)
	f := pos - float64(i)
	return float64(c.exceeding[i]) + float64(f*float64(c.exceeding[i+1]-c.exceeding[i]))
}

// Lambda returns the exceedances of x per agent-day: the recorded ones, and the
// prior's lambda for priorDays agent-days.
func (c *Curve) Lambda(x, prior, priorDays float64) float64 {
	return (c.exceedances(x) + float64(prior*priorDays)) / (c.days + priorDays)
}

// TailStart returns where the tail of c starts.
func (c *Curve) TailStart() float64 {
	if !c.fitted {
		c.fit()
	}
	return firstBin + float64(float64(c.tailBin)*binWidth)
}

// LambdaShaped returns the exceedances of x per agent-day of a curve with little data of
// its own: its level where it has some, the shape of the prior's tail beyond.
// The prior is given at x and where c's tail starts, and stands for priorDays.
func (c *Curve) LambdaShaped(x, prior, atEdge, priorDays float64) float64 {
	n := 0.0
	if edge := c.TailStart(); c.exceeding != nil && x > edge && atEdge > 0 {
		n = float64(c.exceeding[c.tailBin]) * min(prior/atEdge, 1)
	} else {
		n = c.exceedances(x)
	}
	return (n + float64(prior*priorDays)) / (c.days + priorDays)
}

// RawRate returns the recorded exceedances of x per agent-day, 0 without any days.
func (c *Curve) RawRate(x float64) float64 {
	if c.days <= 0 {
		return 0
	}
	return c.exceedances(x) / c.days
}

// Code encodes or decodes c.
func (c *Curve) Code(w *wire.Coder) {
	n := 0
	if c.exceeding != nil {
		n = curveBins
	}
	for n > 0 && c.exceeding[n-1] == 0 {
		n--
	}
	if n = w.Len("exceeding", n, curveBins, 4); n > 0 {
		if c.exceeding == nil {
			c.exceeding = new([curveBins]float32)
		}
		w.F32s("exceeding", c.exceeding[:n])
	}
	w.F64("days", &c.days)
	if !w.Reading() {
		return
	}
	c.fitted = false
	wire.NotNegative(w, "calibration", c.days)
	if c.exceeding != nil {
		wire.NotNegative(w, "calibration", c.exceeding[:]...)
	}
}
