package detector

import "math"

// ModelRatio is how often the model of a signal, without calibration, has crossed the
// signal's part of the budget, over that part.
type ModelRatio struct {
	Signal string
	Ratio  float64
}

// ModelRatios returns the ratios of all signals that the config has on, over all
// tenants; none before a day has been watched. 1 is a model that is right. Calibration
// makes up for any other, a large one at the price of power: it is a fault of the model,
// or a fleet for which the model was not made.
func (d *Detector) ModelRatios() []ModelRatio {
	p := d.newPolicy(0)
	out := make([]ModelRatio, 0, len(d.infos))
	for i := range d.infos {
		if !p.fuse.On(i) {
			continue
		}
		part := p.budget.Alerts * p.fuse.Share(i)
		from := math.Log10(d.infos[i].TestsPerDay / part) // the evidence at which the model says so
		var crossed, days float64
		for _, t := range d.tenants {
			for class := range t.calibration.Signals {
				c := &t.calibration.Signals[class][i]
				crossed += float64(c.RawRate(from) * c.Days())
				days += c.Days()
			}
		}
		if days >= 1 {
			out = append(out, ModelRatio{d.infos[i].Name, crossed / (days * part)})
		}
	}
	return out
}
