package score

import (
	"slices"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// Maturity tells apart agents in their first days and those that are past them.
type Maturity int

// The two of them, as indexes of what is kept for each.
const (
	Young Maturity = iota
	Mature
)

// Calibration holds the curves of one group: of each signal and of their fusion,
// for agents in their first days and for mature ones.
type Calibration struct {
	Signals [2][]Curve // by class (young, mature), by signal
	Fused   [2]Curve
}

// RecordFused counts a block whose fused evidence rose; -Inf: it is new.
func (c *Calibration) RecordFused(class Maturity, from, to, weight float64) {
	c.Fused[class].Record(from+fusedShift, to+fusedShift, weight)
}

// NewCalibration returns curves for n signals.
func NewCalibration(n int) *Calibration {
	return &Calibration{Signals: [2][]Curve{make([]Curve, n), make([]Curve, n)}}
}

// Pair is a group's calibration over that of its fleet.
type Pair struct{ Group, Fleet *Calibration }

// Signal returns lambda of evidence x of one signal. The narrower evidence is
// shrunk to the wider: mature group, mature fleet, young fleet, and the model
// itself, which says blocks*10^-x. Without evidence the answer is NoEvidence.
func (p Pair) Signal(i int, class Maturity, x, blocks float64) float64 {
	if x < firstBin {
		return NoEvidence
	}
	nominal := blocks * pow10(-x)
	fleet := p.fleetSignal(i, class, x, nominal)
	g := &p.Group.Signals[class][i]
	edge := fleet
	if e := g.TailStart(); x > e {
		edge = p.fleetSignal(i, class, e, blocks*pow10(-e))
	}
	return min(max(g.LambdaShaped(x, fleet, edge, groupPriorDays), nominal/maxSharpening), NoEvidence)
}

// Nominal returns lambda of evidence x by the model alone.
func Nominal(x, blocks float64) float64 {
	if x < firstBin {
		return NoEvidence
	}
	return min(blocks*pow10(-x), NoEvidence)
}

func (p Pair) fleetSignal(i int, class Maturity, x, nominal float64) float64 {
	// In the first days of a service the model has not been held against anything:
	// it is believed a decade less, fading over 25 agent-days.
	if watched := p.Fleet.Signals[Young][i].Days() + p.Fleet.Signals[Mature][i].Days(); watched < bootstrapDays {
		nominal *= pow10(1 - watched/bootstrapDays)
	}
	lambda := p.Fleet.Signals[Young][i].Lambda(x, nominal, fleetPriorDays)
	if class == Mature {
		lambda = p.Fleet.Signals[Mature][i].Lambda(x, lambda, fleetPriorDays)
	}
	return lambda
}

// Fused returns lambda of fused evidence y. The floor is that of Signal: where a great
// many agents have shown nothing yet, the first weak evidence of all of them would
// alert on each.
func (p Pair) Fused(class Maturity, y float64) float64 {
	if y+fusedShift < firstBin {
		return min(pow10(-y), NoEvidence)
	}
	fleet := p.fleetFused(class, y)
	g := &p.Group.Fused[class]
	edge := fleet
	if e := g.TailStart() - fusedShift; y > e {
		edge = p.fleetFused(class, e)
	}
	// What a group shows every day says less and less about it the rarer y is: the fleet is
	// worth at least as many agent-days as it takes to bring one exceedance, a gamma of
	// shape 1 over the rates of groups. (Not for single signals: how a model is wrong in its
	// tail, for bytes above all, is a matter of the group's work.)
	priorDays := max(groupPriorDays, min(1/fleet, maxPriorDays))
	return min(max(g.LambdaShaped(y+fusedShift, fleet, edge, priorDays), pow10(-y)/maxSharpening), NoEvidence)
}

func (p Pair) fleetFused(class Maturity, y float64) float64 {
	lambda := p.Fleet.Fused[Young].Lambda(y+fusedShift, pow10(-y), fleetPriorDays)
	if class == Mature {
		// What the young have shown is believed a decade less by those who have just grown
		// up: with a fleet that began in one day they all do at once.
		watched := p.Fleet.Fused[Mature].Days()
		if need := min(matureDays, p.Fleet.Fused[Young].Days()/youngPart); watched < need {
			lambda *= pow10(1 - watched/need)
		}
		lambda = p.Fleet.Fused[Mature].Lambda(y+fusedShift, lambda, fleetPriorDays)
	}
	return lambda
}

// AgentDays is how long its agents were watched.
func (c *Calibration) AgentDays() float64 { return c.Fused[Young].Days() + c.Fused[Mature].Days() }

// Expose adds agent-days of one class.
func (c *Calibration) Expose(class Maturity, days float64) {
	for i := range c.Signals[class] {
		c.Signals[class][i].Expose(days)
	}
	c.Fused[class].Expose(days)
}

// EndDay lets the evidence age by a day.
func (c *Calibration) EndDay() {
	for class := range c.Signals {
		for i := range c.Signals[class] {
			c.Signals[class][i].EndDay()
		}
		c.Fused[class].EndDay()
	}
}

// Reorder gives the curves of n signals their places: the one at i goes to order[i],
// below 0 it is dropped, and a signal that is new starts empty.
func (c *Calibration) Reorder(order []int, n int) {
	for class, old := range c.Signals {
		c.Signals[class] = make([]Curve, n)
		for i, to := range order {
			if to >= 0 {
				c.Signals[class][to] = old[i]
			}
		}
	}
}

// Code encodes or decodes c, its signals in the order of names: what a record
// holds of a signal that is no more is dropped, and a new one starts empty.
func (c *Calibration) Code(w *wire.Coder, names []string) {
	n := w.Len("signals", len(names), 64, 1)
	w.In("signals")
	for at := range n {
		w.At(at)
		name, i := "", at
		if !w.Reading() {
			name = names[at]
		}
		w.String("name", &name, 64)
		if w.Reading() {
			i = slices.Index(names, name)
		}
		wire.Each(w, "class", c.Signals[:], func(curves *[]Curve, w *wire.Coder) {
			if i < 0 {
				new(Curve).Code(w)
				return
			}
			(*curves)[i].Code(w)
		})
	}
	w.Out()
	wire.Each(w, "fused", c.Fused[:], (*Curve).Code)
}
